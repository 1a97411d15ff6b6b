"""Joins a detached container's streams: what is typed goes to its input, what it writes is read from its log.

Any number may do so at once, as everybody sees all output and nobody takes it from the holder.
"""

from __future__ import annotations

import os
import select

from runtime.kernel import inotify, signals
from runtime.lifecycle.log import Log
from runtime.process import terminal
from runtime.process.attend import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from runtime.state import State
else:
    import _signal

KEYS = b"\x10\x11"
"""Ctrl-P Ctrl-Q: leave, and let it run."""
PIECE_BYTES = 256
"""What a terminal or pipe that can be written to takes without blocking (poll(2), pipe(7)). The descriptor is its
holder's too, so that it can't be made one that never blocks."""


class Leave(Exception):  # noqa: N818  (it is no error)
    """The keys to leave were typed."""


class Keys:
    """Looks for the keys to leave in what is typed."""

    def __init__(self, keys: bytes) -> None:
        self.keys, self.held = keys, b""

    def take(self, data: bytes) -> bytes:
        """Return what is to be passed on; a beginning of the keys is held back. Raises Leave."""
        if not self.keys:
            return data
        data = self.held + data
        if self.keys in data:
            raise Leave
        self.held = next(
            (self.keys[:n] for n in range(len(self.keys) - 1, 0, -1) if data.endswith(self.keys[:n])), b""
        )
        return data[: len(data) - len(self.held)]


class Attached:
    """One who has joined. ``feed`` is the container's input, or -1; ``tty`` says whether that is its terminal."""

    def __init__(
        self, found: State, feed: int, pidfd: int, holder: int, *, tty: bool, keys: bytes, proxy: bool
    ) -> None:
        self.feed, self.pidfd, self.holder, self.tty, self.proxy = feed, pidfd, holder, tty, proxy
        self.stdin = 0 if feed >= 0 else -1
        self.keys = Keys(keys if tty else b"")
        self.typed = b""
        self.log = Log(found)
        self.log.at = self.log.size()
        self.watch = inotify.Watch()
        self.log.watch(self.watch)

    def show(self) -> None:
        """Write out what has been written since."""
        while data := self.log.read():
            while data:
                data = data[os.write(1, data) :]

    def _type(self) -> None:
        data = os.read(0, terminal.CHUNK)
        if not data:
            self.stdin = -1
        self.typed += self.keys.take(data)

    def _served(self, got: Signals, mode: terminal.Raw) -> None:
        for number in got.take():
            if number == _signal.SIGCONT:
                mode.again()
            if self.tty and number in (_signal.SIGWINCH, _signal.SIGCONT):
                terminal.resize(self.feed, terminal.size(0))
            elif self.proxy and number != _signal.SIGWINCH:
                signals.send(self.pidfd, number)

    def run(self) -> bool:
        """Stay until the container has ended; False if the keys to leave came before."""
        numbers = signals.FORWARDED if self.proxy or self.tty else (_signal.SIGWINCH,)
        with Signals(numbers) as got, terminal.Raw(0 if self.tty and self.stdin >= 0 else -1) as mode:
            if self.tty:
                terminal.resize(self.feed, terminal.size(0))
            try:
                while not self._turn(got, mode):
                    pass
            except Leave:
                return False
        return True

    def _turn(self, got: Signals, mode: terminal.Raw) -> bool:
        """Wait for anything, and serve it; say whether the container has ended."""
        inputs = [self.watch.descriptor, got.reader, self.holder]
        if self.stdin >= 0 and len(self.typed) < terminal.PENDING_BYTES:
            inputs.append(self.stdin)
        ready, writable, _ = select.select(inputs, [self.feed] if self.typed else [], [], None)
        self.watch.drain()
        if got.reader in ready:
            self._served(got, mode)
        if writable:
            self.typed = self.typed[os.write(self.feed, self.typed[:PIECE_BYTES]) :]
        if self.stdin in ready:
            self._type()
        self.show()
        return self.holder in ready

"""Looks after a command until it ends: hands on signals, and what passes between its terminal and ours."""

from __future__ import annotations

import os
from select import POLLIN, poll

from runtime.kernel.signals import FORWARDED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any, Self
else:
    import _signal

CHUNK = 4096


class Signals:
    """A pipe that has a byte for every signal that came, so that poll(2) wakes for them.

    The handlers run nothing: what a signal means is decided in the loop that reads the pipe.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.numbers = numbers
        self.reader = self.writer = -1
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        for number in self.numbers:
            self.before[number] = _signal.signal(number, lambda _number, _frame: None)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self.before.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)
        _signal.set_wakeup_fd(-1)
        os.close(self.reader)
        os.close(self.writer)

    def take(self) -> bytes:
        """Return the signals that came since the last call, one byte each."""
        try:
            return os.read(self.reader, CHUNK)
        except BlockingIOError:
            return b""


def attend(exited: int, on_signal: Callable[[int], None], *, master: int, interactive: bool) -> None:
    """Serve until ``exited`` (a pidfd) says that it has ended.

    ``master`` is its terminal's, -1 if it has our streams. ``on_signal`` gets the signals. What is typed is handed on
    if it is ``interactive``.
    """
    with Signals(FORWARDED) as got:
        if master < 0:
            wait(exited, got, on_signal)
            return
        from runtime.process import terminal  # 1 ms, for those who have one

        terminal.relay(exited, got, on_signal, master=master, stdin=0 if interactive else -1, stdout=1)


def wait(exited: int, signals: Signals, on_signal: Callable[[int], None]) -> None:
    """Hand on signals until it has ended; a window's size is the terminal's own business."""
    waiting = poll()
    waiting.register(exited, POLLIN)
    waiting.register(signals.reader, POLLIN)
    while True:
        ready = dict(waiting.poll())
        for number in signals.take() if signals.reader in ready else b"":
            if number != _signal.SIGWINCH:
                on_signal(number)
        if exited in ready:
            return

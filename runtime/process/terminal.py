"""A terminal for the container: the caller's is made raw, and bytes go between it and the pty's master.

What is typed, Ctrl-C and Ctrl-Z included, is the container's to interpret: its own line discipline turns
them into signals for its own foreground processes (pty(7), termios(3)).

    caller's terminal (raw)  <->  relay  <->  master | slave = the command's stdin, stdout, stderr
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any, Self

    from runtime.process.attend import Signals
else:
    import _signal

TIOCSPTLCK, TIOCGPTPEER = 0x40045431, 0x5441
"""include/uapi/asm-generic/ioctls.h: unlock the slave, open the slave."""
PTMX = os.makedev(5, 2)
"""Documentation/admin-guide/devices.txt"""
CHUNK = 65536
PENDING_BYTES = 65536
"""Typed or pasted bytes held while the command does not read them; beyond that we stop reading too."""
LEFT_READS = 64
"""One read returns up to 4 KiB of a pty, which holds up to 64 KiB and a bit (drivers/tty/tty_buffer.c)."""
NO_SIZE = bytes(8)
"""struct winsize: rows, columns and two unused numbers, each a short."""
READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


def make(master: int) -> tuple[int, int]:
    """Return master and slave of a new pty, of a /dev/pts/ptmx that was opened: one of the container's own devpts.

    The slave comes from the master itself (ioctl_tty(2), TIOCGPTPEER), not from a name the container could
    have put something else at.
    """
    try:
        if os.fstat(master).st_rdev != PTMX:
            raise OSError(errno.ENOTTY, "it makes no terminals", "/dev/pts/ptmx")
        fcntl.ioctl(master, TIOCSPTLCK, bytes(4))
        return master, fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except BaseException:
        os.close(master)
        raise


def take(slave: int, uid: int) -> None:
    """Make the slave the controlling terminal, and the standard streams, of a new session; it is ``uid``'s."""
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    os.fchown(slave, uid, -1)
    for stream in range(3):
        os.dup2(slave, stream)


def size(descriptor: int) -> bytes:
    """Return the window size (struct winsize) of a terminal, ``NO_SIZE`` if it is none."""
    try:
        return fcntl.ioctl(descriptor, termios.TIOCGWINSZ, NO_SIZE)
    except OSError:
        return NO_SIZE


def resize(master: int, window: bytes) -> None:
    """Give the pty a window size; the kernel tells its foreground processes by SIGWINCH."""
    if window != NO_SIZE:
        fcntl.ioctl(master, termios.TIOCSWINSZ, window)


def raw(attributes: list[Any]) -> list[Any]:
    """Return terminal attributes with every translation off (termios(3), cfmakeraw)."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, control = attributes
    iflag &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
        | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    oflag &= ~termios.OPOST
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    control = list(control)
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, control]


class Raw:
    """Makes a terminal raw while it is entered, and as it was when left, however it is left."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.before: list[Any] | None = None

    def __enter__(self) -> Self:
        if self.descriptor >= 0 and os.isatty(self.descriptor):
            self.before = termios.tcgetattr(self.descriptor)
            self.again()
        return self

    def again(self) -> None:
        """Make it raw once more: a shell sets it to its own liking while we are stopped."""
        if self.before is not None:
            termios.tcsetattr(self.descriptor, termios.TCSANOW, raw(self.before))

    def __exit__(self, *_exception: object) -> None:
        if self.before is not None:
            try:
                termios.tcsetattr(self.descriptor, termios.TCSANOW, self.before)
            except (OSError, termios.error):  # hung up: there is nothing left to restore
                pass


def _waitless(descriptor: int) -> int:
    """Return a descriptor of the same terminal or pipe that never blocks, without making the caller's such.

    A file description is shared with whoever handed it to us (fcntl(2), O_NONBLOCK); opening it anew is not.
    Anything else, such as a file with a position of its own, never blocks for long and is duplicated.
    """
    if os.isatty(descriptor) or os.fstat(descriptor).st_mode & 0o170000 == 0o010000:  # S_IFMT, S_IFIFO
        try:
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # no /proc, or not ours to open
            pass
    return os.dup(descriptor)


class _Streams:
    """The two directions of a relay. A descriptor of -1 is absent or has ended."""

    def __init__(self, master: int, stdin: int, stdout: int) -> None:
        self.master, self.stdin = master, stdin
        self.stdout = _waitless(stdout) if stdout >= 0 else -1
        self.typed = self.shown = b""
        os.set_blocking(master, False)

    def events(self) -> list[tuple[int, int]]:
        """Return what to poll for."""
        wanted = []
        if self.shown:  # a screen that does not take it holds the command back, but not us
            wanted.append((self.stdout, select.POLLOUT))
        if self.master >= 0 and (self.typed or not self.shown):
            wanted.append((self.master, (0 if self.shown else READABLE) | (select.POLLOUT if self.typed else 0)))
        if self.stdin >= 0 and len(self.typed) < PENDING_BYTES:
            wanted.append((self.stdin, READABLE))
        return wanted

    def output(self) -> bool:
        """Pass on one piece of the command's output; False if there is none (now)."""
        try:
            data = os.read(self.master, CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # the last process with the slave open has closed it
        if not data:
            self.master = self.stdin = -1
            return False
        if self.stdout >= 0:
            self.shown = data
            self.show()
        return True

    def show(self) -> None:
        """Write what is pending to the caller, as far as it is taken."""
        try:
            self.shown = self.shown[os.write(self.stdout, self.shown) :]
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            os.close(self.stdout)
            self.stdout = -1  # go on reading, or the command would block on a reader that has left
            self.shown = b""

    def flush(self) -> None:
        """Wait until the caller has taken all, or has left."""
        while self.shown:
            select.select([], [self.stdout], [])
            self.show()

    def close(self) -> None:
        """Close what was opened here."""
        if self.stdout >= 0:
            os.close(self.stdout)

    def drain(self) -> None:
        """Pass on what the command has left in the pty, and no more: background processes may write on."""
        self.flush()
        for _ in range(LEFT_READS):
            if self.master < 0 or not self.output():
                return
            self.flush()

    def input(self) -> None:
        """Take one piece of what is typed. At its end only this direction ends."""
        try:
            data = os.read(self.stdin, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
        if data:
            self.typed += data
            self.deliver()
        else:
            self.stdin = -1

    def deliver(self) -> None:
        """Write what is pending to the command, as far as it takes it."""
        try:
            self.typed = self.typed[os.write(self.master, self.typed) :]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.typed = b""

    def handle(self, descriptor: int, event: int) -> None:
        """Do what one event of poll(2) asks for."""
        if descriptor == self.stdin and event & READABLE:
            self.input()
        elif descriptor == self.stdout:
            self.show()
        elif descriptor == self.master:
            if event & select.POLLOUT and self.typed:
                self.deliver()
            if event & READABLE and not self.shown:
                self.output()


def relay(
    exited: int, signals: Signals, on_signal: Callable[[int], None], *, master: int, stdin: int = -1, stdout: int = -1
) -> None:
    """Serve until ``exited`` (a pidfd) says the command has ended and its last output has been passed on.

    Bytes go between ``master`` and ``stdin`` (made raw if it is a terminal) and ``stdout``, whose window size it
    follows. Every signal of ``signals`` but SIGWINCH is handed to ``on_signal``. Raises OSError for what no
    hanging up explains.
    """
    streams = _Streams(master, stdin, stdout)
    with Raw(stdin) as mode:
        resize(master, size(stdout))
        while True:
            poll = select.poll()
            for descriptor, events in (
                (exited, select.POLLIN),
                (signals.reader, select.POLLIN),
                *streams.events(),
            ):
                poll.register(descriptor, events)
            ready = dict(poll.poll())
            if signals.reader in ready:
                _served(signals, on_signal, mode, master, stdout)
            for descriptor, event in ready.items():
                streams.handle(descriptor, event)
            if exited in ready:
                streams.drain()
                streams.close()
                return


def _served(signals: Signals, on_signal: Callable[[int], None], mode: Raw, master: int, stdout: int) -> None:
    for number in signals.take():
        if number == _signal.SIGCONT:
            mode.again()
        if number in (_signal.SIGWINCH, _signal.SIGCONT):
            resize(master, size(stdout))
        if number != _signal.SIGWINCH:
            on_signal(number)

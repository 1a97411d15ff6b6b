"""The relay between the caller's terminal and the container's, with real ptys."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from runtime.process import attend, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PTMX = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
SECONDS = 20.0
"""Nothing here takes as long; a test that does has failed."""


class Caller:
    """A person at a terminal: ``screen`` and ``keys`` are the outer pty's master, ``tty`` its slave."""

    def __init__(self) -> None:
        self.screen, self.tty = pty.openpty()
        self.seen = b""

    def type(self, data: bytes) -> None:
        """Type something."""
        os.write(self.screen, data)

    def await_text(self, wanted: bytes) -> None:
        """Read the screen until it shows what is wanted."""
        deadline = time.monotonic() + SECONDS
        while wanted not in self.seen:
            ready = select.select([self.screen], [], [], max(0, deadline - time.monotonic()))[0]
            assert ready, f"the screen never showed {wanted!r}, but {self.seen!r}"
            self.seen += os.read(self.screen, 65536)

    def resize(self, rows: int, columns: int) -> None:
        """Resize the window; the kernel tells only a session that has it as its terminal, so we do."""
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        os.kill(os.getpid(), signal.SIGWINCH)

    def close(self) -> None:
        """Leave."""
        os.close(self.screen)
        os.close(self.tty)


@pytest.fixture
def caller() -> Iterator[Caller]:
    """Return a person at a terminal."""
    found = Caller()
    yield found
    found.close()


def start(*command: str) -> tuple[int, int, int]:
    """Start a command on a pty of its own; return its pid, a pidfd and the master."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    return pid, os.pidfd_open(pid), master


def ignore(_number: int) -> None:
    """Take no notice of a signal."""


def session(
    caller: Caller,
    command: tuple[str, ...],
    script: Callable[[int], None],
    on_signal: Callable[[int], None] = ignore,
) -> int:
    """Relay between the caller and a command while a thread plays the person; return the wait status."""
    pid, exited, master = start(*command)
    failures: list[BaseException] = []

    def play() -> None:
        try:
            script(pid)
        except BaseException as error:  # noqa: BLE001  (raised below, in the test's own thread)
            failures.append(error)
            os.kill(pid, signal.SIGKILL)

    player = threading.Thread(target=play)
    try:
        with attend.Signals((signal.SIGWINCH, signal.SIGUSR1, signal.SIGCONT)) as signals:
            player.start()
            terminal.relay(exited, signals, on_signal, master=master, stdin=caller.tty, stdout=caller.tty)
    finally:
        player.join()
        os.close(exited)
        os.close(master)
    if failures:
        raise failures[0]
    return os.waitpid(pid, 0)[1]


def test_bytes_go_both_ways(caller: Caller) -> None:
    """What is typed reaches the command, what it writes the screen, its last words included."""

    def script(_pid: int) -> None:
        caller.await_text(b"ready")
        caller.type(b"hello\r")
        caller.await_text(b"got hello")
        caller.await_text(b"3000\r\n")

    status = session(caller, ("sh", "-c", "echo ready; read x; echo got $x; seq 3000; exit 7"), script)
    assert os.waitstatus_to_exitcode(status) == 7
    assert b"1\r\n2\r\n3\r\n" in caller.seen


def test_ctrl_c_is_the_commands(caller: Caller) -> None:
    """Ctrl-C passes as a byte; the command's own terminal makes the signal of it."""

    def script(_pid: int) -> None:
        caller.await_text(b"ready")
        caller.type(b"\x03")
        caller.await_text(b"interrupted")

    command = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    assert os.waitstatus_to_exitcode(session(caller, ("sh", "-c", command), script)) == 3


def test_resize(caller: Caller) -> None:
    """The command's terminal has the caller's size from the start, and follows it."""
    fcntl.ioctl(caller.tty, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))

    def script(_pid: int) -> None:
        caller.await_text(b"ready")
        caller.type(b"stty size\r")
        caller.await_text(b"33 77")
        caller.resize(44, 111)
        deadline = time.monotonic() + SECONDS
        while b"44 111" not in caller.seen and time.monotonic() < deadline:
            caller.type(b"stty size\r")  # the window's new size takes the relay a moment
            time.sleep(0.05)
            caller.seen += os.read(caller.screen, 65536)
        caller.await_text(b"44 111")
        caller.type(b"exit\r")

    assert session(caller, ("sh", "-c", "echo ready; exec sh"), script) == 0


def flags(attributes: list[Any]) -> list[Any]:
    """Return what of a terminal's attributes is settings."""
    return [*attributes[:4], attributes[6]]


@pytest.mark.parametrize("end", ["exit", "killed"])
def test_the_callers_terminal_is_restored(caller: Caller, end: str) -> None:
    """It is raw in between and as before afterwards, also when the command is killed by SIGKILL."""
    before = flags(termios.tcgetattr(caller.tty))
    during: list[list[Any]] = []

    def script(pid: int) -> None:
        caller.await_text(b"ready")
        during.append(flags(termios.tcgetattr(caller.tty)))
        if end == "killed":
            os.kill(pid, signal.SIGKILL)
        else:
            caller.type(b"\r")

    session(caller, ("sh", "-c", "echo ready; read x"), script)
    assert not during[0][3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert flags(termios.tcgetattr(caller.tty)) == before


def test_restored_after_a_failure(caller: Caller) -> None:
    """An exception in the middle leaves the terminal as it was, too."""
    before = flags(termios.tcgetattr(caller.tty))

    failed = threading.Event()

    def fail(_number: int) -> None:
        failed.set()
        raise RuntimeError("in the middle")

    def script(pid: int) -> None:
        caller.await_text(b"ready")
        os.kill(os.getpid(), signal.SIGUSR1)
        failed.wait(SECONDS)
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match="in the middle"):
        session(caller, ("sh", "-c", "echo ready; exec sleep 60"), script, fail)
    assert flags(termios.tcgetattr(caller.tty)) == before
    os.wait()


def test_a_paste_larger_than_the_pty(caller: Caller) -> None:
    """A long paste arrives whole while output flows the other way: neither side waits for the other."""
    data = b"0123456789abcde\n" * 20000

    def script(_pid: int) -> None:
        caller.await_text(b"ready")
        sent = 0
        os.set_blocking(caller.screen, False)
        deadline = time.monotonic() + SECONDS
        while sent < len(data):
            assert time.monotonic() < deadline, f"stuck after {sent} bytes"
            ready, writable, _ = select.select([caller.screen], [caller.screen], [], 1)
            if ready:
                caller.seen += os.read(caller.screen, 65536)
            if writable:
                sent += os.write(caller.screen, data[sent : sent + 1024])
        os.set_blocking(caller.screen, True)
        caller.await_text(b"all 20000")

    command = "stty raw -echo; echo ready; head -c 320000 | tee /dev/stderr | grep -c . | sed 's/^/all /'"
    assert session(caller, ("sh", "-c", command), script) == 0


def test_the_output_has_nowhere_to_go() -> None:
    """A command whose reader has left runs to its end instead of blocking."""
    reader, writer = os.pipe()
    os.close(reader)
    pid, exited, master = start("sh", "-c", "seq 100000; exit 5")
    with attend.Signals(()) as signals:
        terminal.relay(exited, signals, ignore, master=master, stdout=writer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    for descriptor in (exited, master, writer):
        os.close(descriptor)


def test_input_that_ends_leaves_the_output() -> None:
    """When nothing more is typed, what the command writes still arrives."""
    (typed, keys), (screen, out) = os.pipe(), os.pipe()
    os.write(keys, b"one\n")
    os.close(keys)
    pid, exited, master = start("sh", "-c", "read x; sleep 0.2; echo late $x")
    with attend.Signals(()) as signals:
        terminal.relay(exited, signals, ignore, master=master, stdin=typed, stdout=out)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"late one" in os.read(screen, 65536)
    for descriptor in (exited, master, typed, screen, out):
        os.close(descriptor)


def test_make_gives_a_pty() -> None:
    """The two ends belong together, and are not inherited by what is executed."""
    master, slave = terminal.make(os.open("/dev/pts/ptmx", PTMX))
    try:
        os.write(slave, b"out\n")
        assert os.read(master, 100) == b"out\r\n"
        assert not os.get_inheritable(master)
        assert not os.get_inheritable(slave)
    finally:
        os.close(master)
        os.close(slave)


def test_take_makes_it_the_controlling_terminal() -> None:
    """A process that takes a terminal can open it as /dev/tty and has it as its streams and its own."""
    master, slave = terminal.make(os.open("/dev/pts/ptmx", PTMX))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            terminal.take(slave, 12345)
            os.close(os.open("/dev/tty", os.O_RDWR))
            code = 0 if os.ttyname(1) == os.ttyname(0) and os.fstat(0).st_uid == 12345 else 2
        finally:
            os._exit(code)
    os.close(slave)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(master)

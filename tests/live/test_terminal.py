"""A container's terminal, from a person's side of it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

pytestmark = pytest.mark.anywhere  # terminals


class Person:
    """Somebody at a terminal, with pyproc-run as its foreground process."""

    def __init__(self, box: Box, *command: str) -> None:
        self.scale = box.scale
        self.screen, tty = pty.openpty()
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
        self.before = termios.tcgetattr(tty)
        self.tty = tty
        self.process = subprocess.Popen(
            box.command("--rm", "-it", "--", *command),
            env=box.environment, stdin=tty, stdout=tty, stderr=tty,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )  # fmt: skip
        self.seen = b""

    def type(self, text: bytes) -> None:
        """Type something."""
        os.write(self.screen, text)

    def sees(self, text: bytes) -> None:
        """Wait until the screen shows something, and forget all up to it."""
        deadline = time.monotonic() + 20 * self.scale
        while text not in self.seen:
            assert time.monotonic() < deadline, f"the screen never showed {text!r}, but {self.seen!r}"
            if select.select([self.screen], [], [], self.scale)[0]:
                self.seen += os.read(self.screen, 65536)
        self.seen = self.seen.partition(text)[2]

    def ends(self, again: bytes = b"") -> int:
        """Wait for the end, reading on and typing ``again`` now and then; the terminal must be as it was."""
        deadline, typed = time.monotonic() + 20 * self.scale, time.monotonic()
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self.screen], [], [], 0.05)[0]:
                self.seen += os.read(self.screen, 65536)
            elif time.monotonic() - typed > self.scale / 2:
                self.type(again)
                typed = time.monotonic()
        assert self.process.poll() is not None, self.seen
        assert termios.tcgetattr(self.tty) == self.before
        return self.process.wait(1)

    def leave(self) -> None:
        """Close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self.screen)
        os.close(self.tty)


@pytest.fixture
def person(clean: Box) -> Iterator[Person]:
    """Yield a person before a shell in a container."""
    found = Person(clean, "bash", "--norc", "-i")
    found.type(b"PS1='ready''> '\r")
    found.sees(b"ready> ")
    yield found
    found.leave()


def test_size_follows_the_window(person: Person) -> None:
    """`stty size` says the caller's window, and follows it."""
    person.type(b"stty size\r")
    person.sees(b"33 77")
    fcntl.ioctl(person.screen, termios.TIOCSWINSZ, struct.pack("4H", 44, 111, 0, 0))
    person.type(b"until [ \"$(stty size)\" = '44 111' ]; do sleep 0.1; done; echo resi''zed\r")
    person.sees(b"resized")
    person.type(b"exit 3\r")
    assert person.ends() == 3


def test_ctrl_c_and_ctrl_z(person: Person) -> None:
    """Ctrl-C ends a command under the shell, Ctrl-Z stops it and `fg` goes on with it."""
    job = b"sh -c \"echo beg''un; exec sleep 1000\"\r"  # what it says, it says in the foreground
    person.type(job)
    person.sees(b"begun")
    person.type(b"\x03")
    person.sees(b"ready> ")
    person.type(job)
    person.sees(b"begun")
    person.type(b"\x1a")
    person.sees(b"Stopped")
    person.sees(b"ready> ")
    person.type(b"fg\r")
    person.sees(b"sleep 1000")
    person.ends(again=b"\x03exit\r")  # the shell says the job's name before it hands the terminal over


def test_restored_after_a_kill(clean: Box) -> None:
    """The caller's terminal is as before also when the command is killed."""
    person = Person(clean, "sh", "-c", "echo beg''un; sleep 1000")
    person.sees(b"begun")
    clean.pyproc("kill", clean.ids()[0], "KILL")
    assert person.ends() == 128 + signal.SIGKILL
    person.leave()

"""Watches that the mount answers."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import suppress
from typing import NamedTuple

import trio

from lxcfs_py import log
from lxcfs_py.daemon import notify

ASK_SECONDS = 1.0
"""Between two questions to the mount. They also wake a worker for what one that was just killed was woken for."""
ANSWER_SECONDS = 5.0
END_SECONDS = 5.0
"""How long a shell that was killed may take to end."""
ASKED = "sys/devices/system/cpu/online"
"""What is read: it is served, and short, for a shell reads byte by byte."""
SHELL = "/bin/sh"
SCRIPT = 'while read -r _; do if { read -r _ || :; } <"$0"; then echo ok; else echo failed; fi; done 2>&1'
"""That a text has no end of line, or an error is read, is an answer too. Of what fails the shell says why first."""
OK, ENDS = b"ok\n", (b"ok\n", b"failed\n")
NOT_SERVED = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
"""What a read of a mount says that nobody serves, or that is none any more. Whatever else can go wrong is a daemon's
answer, or the asker's trouble (the host is out of files, processes or memory), which no new daemon would end.
"""


class Heard(NamedTuple):
    """What became of a question."""

    failure: str = ""
    """Why there was no text, "" if there was."""
    served: bool = True
    """Whether a daemon serves, as far as can be told."""


def heard(said: str) -> Heard:
    """Return what it means that a shell says ``PATH: ERROR`` of its own way to say it (strerror(3), mostly)."""
    known = {os.strerror(number): number for number in errno.errorcode}
    return Heard(said, known.get(said.rpartition(": ")[2], errno.ENOENT) not in NOT_SERVED)


class Asker:
    """A shell that reads a file of the mount whenever it is told to: who reads may hang, and we must not."""

    def __init__(self, mountpoint: str) -> None:
        self._path = f"{mountpoint}/{ASKED}"
        self._shell: trio.Process | None = None

    async def ask(self) -> Heard:
        """Read, and return what that was answered."""
        if self._shell is None:
            command = [SHELL, "-c", SCRIPT, self._path]
            pipe, plain = subprocess.PIPE, {**os.environ, "LC_ALL": "C"}
            try:
                self._shell = await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe, cwd="/", env=plain)
            except OSError as error:  # no process can be started just now
                return Heard(f"{SHELL}: {log.cause(error)}")
        said = await _answer(self._shell)
        if said.endswith(ENDS):
            return Heard() if said == OK else heard(said.decode("utf-8", "replace").partition("\n")[0])
        await self.close()
        return Heard(f"{self._path}: no answer within {ANSWER_SECONDS:g} s", served=False)

    async def close(self) -> None:
        """End the shell; where the kernel has it wait for an answer all the same, it stays the one to be asked."""
        shell = self._shell
        if shell is not None:
            shell.kill()
            with trio.move_on_after(END_SECONDS):
                await shell.wait()
                self._shell = None
                for stream in (shell.stdin, shell.stdout):
                    if stream is not None:
                        await stream.aclose()


async def _answer(shell: trio.Process) -> bytes:
    """Have a shell read, and return what it says of that; without one of ``ENDS`` if it has not said it in time."""
    said = b""
    assert shell.stdin is not None
    assert shell.stdout is not None
    with trio.move_on_after(ANSWER_SECONDS), suppress(trio.BrokenResourceError):  # (somebody killed it)
        await shell.stdin.send_all(b"\n")
        while not said.endswith(ENDS) and (more := await shell.stdout.receive_some()):
            said += more
    return said


async def ask(mountpoint: str) -> None:
    """Ask the mount now and then; systemd's watchdog hears of it unless nobody serves there."""
    pause = min(ASK_SECONDS, notify.watchdog_seconds() or ASK_SECONDS)
    asker, limiter = Asker(mountpoint), log.Limiter()
    try:
        while True:
            await trio.sleep(pause)
            failure, served = await asker.ask()
            if served:
                notify.notify("WATCHDOG=1")
            subject = "the mount could not be asked" if served else "the mount does not answer"
            if failure:
                limiter.write(log.Line(failure, subject=subject))
    finally:
        with trio.CancelScope(shield=True):
            await asker.close()

"""Watches that the mount answers."""

from __future__ import annotations

import subprocess
from contextlib import suppress

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


class Asker:
    """A shell that reads a file of the mount whenever it is told to: who reads may hang, and we must not."""

    def __init__(self, mountpoint: str) -> None:
        self._path = f"{mountpoint}/{ASKED}"
        self._shell: trio.Process | None = None

    async def ask(self) -> str:
        """Return "" when a read was answered, or why it was not; raises OSError if there can be no shell."""
        if self._shell is None:
            command = [SHELL, "-c", SCRIPT, self._path]
            pipe = subprocess.PIPE
            self._shell = await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe, cwd="/")
        said = await _answer(self._shell)
        if said.endswith(ENDS):
            return "" if said == OK else said.decode("utf-8", "replace").partition("\n")[0]
        await self.close()
        return f"{self._path}: no answer within {ANSWER_SECONDS:g} s"

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
    """Ask the mount now and then; systemd's watchdog hears of it when it has answered."""
    pause = min(ASK_SECONDS, notify.watchdog_seconds() or ASK_SECONDS)
    asker, limiter = Asker(mountpoint), log.Limiter()
    try:
        while True:
            await trio.sleep(pause)
            try:
                failure = await asker.ask()
            except OSError as error:  # no process can be started just now
                failure = log.cause(error)
            if not failure:
                notify.notify("WATCHDOG=1")
            elif line := limiter.line(log.Line(failure, subject="the mount does not answer")):
                log.write(line)
    finally:
        with trio.CancelScope(shield=True):
            await asker.close()

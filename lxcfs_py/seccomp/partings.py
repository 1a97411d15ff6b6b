"""How connections of users end: what was sent by one and not taken goes with it, and that may take for ever.

It may be a TCP connection that lingers (SO_LINGER, socket(7)) or a file of a file system that never answers, and who
lets go of it waits. So the keeper closes no connection that anything is in: a process of no other use does.
"""

from __future__ import annotations

import fcntl
import socket
import subprocess
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_SECONDS = 0.2
MOST_PROCESSES, MOST_WAITING = 8, 256
"""How many may be held up at once, and how many connections may wait for one before no more are accepted."""


class Partings:
    """Closes connections."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._waiting: list[trio.socket.SocketType] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._some = trio.Event()

    @property
    def full(self) -> bool:
        """Whether too many wait already."""
        return len(self._waiting) >= MOST_WAITING

    def add(self, connection: trio.socket.SocketType) -> None:
        """End a connection: its user sees that at once."""
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # so that nothing more comes
        if any(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4))):
            self._waiting.append(connection)
            self._some.set()
        else:
            connection.close()

    async def serve(self) -> None:
        """Close those that something is in."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            while self._waiting or self._processes:
                self._processes = [each for each in self._processes if each.poll() is None]
                if len(self._processes) < MOST_PROCESSES:
                    self.close()
                await trio.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        """Have a process close those that wait, as it ends."""
        if not self._waiting:
            return
        try:
            process = subprocess.Popen(
                ["sleep", "60"],
                pass_fds=[each.fileno() for each in self._waiting],
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._log(f"seccomp: connections of users can't be closed yet: sleep: {error}")
            return
        for each in self._waiting:
            each.close()
        self._waiting.clear()
        process.kill()
        self._processes.append(process)

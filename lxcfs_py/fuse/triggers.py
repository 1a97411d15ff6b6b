"""Pressure triggers as a worker sees them: asked of the supervisor, who holds and watches them.

A trigger lives as long as its file is open, a worker may die at any instant. So each worker opens a connection
of its own to the supervisor, when it first needs one. Whatever needs an answer is one request and one reply over it.
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import socket
from typing import Any

from lxcfs_py import sockets

READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM
"""What poll(2) says of a file that never blocks (DEFAULT_POLLMASK in include/linux/poll.h)."""
NO_TRIGGER = READY | select.POLLERR | select.POLLPRI
"""What it says of a pressure file without a trigger, and of one whose cgroup has gone (psi_trigger_poll)."""
TIMEOUT_SECONDS = 10.0
REQUEST_BYTES = 1 << 15
"""The longest request; a path has 4096 bytes at most."""

WRITER = 1 << 63
"""In a file handle: opened for writing, so it may have a trigger."""

CAP_SYS_RESOURCE = 24
INITIAL = "user:[4026531837]"
"""The initial user namespace (PROC_USER_INIT_INO in include/linux/proc_ns.h)."""


def privileged(proc: str, pid: int) -> bool:
    """Say whether a process has CAP_SYS_RESOURCE over the whole machine; one that can't be looked at has not."""
    from lxcfs_py.procfs import status

    try:
        with open(f"{proc}/{pid}/status", "rb") as file:
            effective = status.effective(file.read())
        return bool(effective >> CAP_SYS_RESOURCE & 1) and os.readlink(f"{proc}/{pid}/ns/user") == INITIAL
    except OSError:
        return False


class Triggers:
    """One worker's way to the supervisor's ``daemon.triggers.Service``; ``control`` is where connections are sent.

    ``write`` and ``close`` raise OSError if the supervisor does not answer in time.
    """

    def __init__(self, control: int) -> None:
        self._control = socket.socket(fileno=control)
        self._connection: socket.socket | None = None

    def write(
        self, handle: int, owner: str, path: str, text: bytes, *, privileged: bool, resent: bool = False
    ) -> int:  # fmt: skip
        """Set the trigger of an open file, on the kernel's file at ``path``; return an errno, 0 if it is set.

        ``resent``: the kernel asks again, another worker may have had it set.
        """
        return self._ask("write", handle, owner, path, text, privileged, resent)

    def poll(self, handle: int, wake: bytes) -> int:
        """Return what poll(2) says; ``wake`` is to be written to /dev/fuse when it would say more, b"" for never.

        That there is nothing, if the supervisor does not answer: the next one wakes everybody who polls.
        """
        try:
            return self._ask("poll", handle, wake)
        except OSError:
            return READY

    def close(self, handle: int) -> None:
        """Close an open file's trigger, if it has one; there is no reply."""
        self._connection = self._told(("close", handle))

    def _told(self, request: tuple[Any, ...]) -> socket.socket:
        """Send a request; the connection is the caller's to keep, if nothing goes wrong."""
        connection, self._connection = self._connection or self._connect(), None
        try:
            connection.send(marshal.dumps(request))
        except BaseException:
            connection.close()
            raise
        return connection

    def _ask(self, *request: Any) -> int:
        connection = self._told(request)
        try:
            reply = connection.recv(64)
            if not reply:
                raise OSError(errno.EIO, "the supervisor has hung up")
        except BaseException:  # a reply that comes too late must not be taken for the next one's
            connection.close()
            raise
        self._connection = connection
        return int(reply)

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(TIMEOUT_SECONDS)
        try:
            sockets.send_fds(self._control, b".", [theirs.fileno()], socket.MSG_DONTWAIT)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

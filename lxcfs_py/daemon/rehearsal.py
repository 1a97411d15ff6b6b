"""A rehearsal: a worker serves a socket that stands for the mount, before those who serve are told to leave."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING

from lxcfs_py.fuse import protocol
from lxcfs_py.nodes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from lxcfs_py.daemon.task import Task

FILES = ("proc/meminfo", "proc/stat", "sys/devices/system/cpu/online")
"""What is read: they are served on every host, and need all that a worker shares with the others."""
SECONDS = 10.0
"""For each answer."""
PIECE_BYTES = 1 << 16


def rehearse(task: Task, number: int, work: Callable[[Task, int], NoReturn]) -> str:
    """Have a process ``work`` and answer as worker ``number``, which must be nobody's; return why it can't, or ""."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    since_nsec, failure = time.monotonic_ns(), ""
    with near:
        with far:
            try:
                pid = os.fork()
            except OSError as error:
                return f"no process was started: {error.strerror}"
            if pid == 0:
                near.close()
                work(task.replace(fuse=far.fileno(), relay=False), number)  # (nobody mourns it)
        try:
            near.settimeout(SECONDS)
            kernel = Kernel(near)
            for path in FILES:
                kernel.read(path)
        except OSError as error:
            failure = f"{path}: {error.strerror or error}"
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if failure and (taken := task.shared().took(number, since_nsec)) >= 0:
        task.shared().untake(taken)
    return failure


class Kernel:
    """Asks as the kernel does. Raises OSError: what is answered, EPIPE if who should has ended, or TimeoutError."""

    def __init__(self, socket_: socket.socket) -> None:
        self._socket, self._unique = socket_, 0

    def read(self, path: str) -> bytes:
        """Return the text of a file, which is whole."""
        inode = ROOT
        for name in path.split("/"):
            (inode,) = struct.unpack_from("=Q", self._ask(protocol.LOOKUP, inode, os.fsencode(name) + b"\0"))
        (handle,) = struct.unpack_from("=Q", self._ask(protocol.OPEN, inode, protocol.open_body(os.O_RDONLY)))
        text = b""
        while piece := self._ask(protocol.READ, inode, protocol.read_body(handle, len(text), PIECE_BYTES)):
            text += piece
        self._ask(protocol.RELEASE, inode, protocol.release_body(handle))
        if not text.endswith(b"\n"):
            raise OSError(errno.EIO, "cut off, or empty")
        return text

    def _ask(self, opcode: int, inode: int, body: bytes) -> bytes:
        self._unique += 2
        reply = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.send(protocol.request(opcode, self._unique, inode, os.getpid(), body))
            reply = self._socket.recv(2 * protocol.REQUEST_BYTES)
        if not reply:
            raise BrokenPipeError(errno.EPIPE, "the worker has ended")
        if number := protocol.reply_error(reply):
            raise OSError(number, os.strerror(number))
        return protocol.answer(reply)

"""Unix sockets at a path of any length: an address has 108 bytes, so it is one below the directory's descriptor."""

from __future__ import annotations

import array
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence


class Listening(Record):
    """A socket that listens; ``inode`` tells whether the path, if it has one, is still its own."""

    socket: socket.socket
    path: str = ""
    inode: int = 0

    def close(self) -> None:
        """Stop, and remove the path unless another has taken it over."""
        self.socket.close()
        if os.path.exists(self.path) and os.stat(self.path).st_ino == self.inode:
            os.unlink(self.path)


def listen(path: str, mode: int = 0o600) -> Listening:
    """Listen at a path, for root alone; a socket that was there is replaced, in one step. Raises OSError."""
    directory, name = os.path.split(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    if os.path.lexists(path) and not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise FileExistsError(errno.EEXIST, "there is something else", path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    temporary = f"{name}.{os.getpid()}"
    mask = os.umask(~mode & 0o777)
    try:
        listening.bind(f"/proc/self/fd/{at}/{temporary}")
        listening.listen(128)
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(mask)
        os.close(at)
    return Listening(listening, path, os.stat(path).st_ino)


def connect(path: str, timeout_seconds: float) -> socket.socket:
    """Return a connection to who listens at a path; raises OSError."""
    directory, name = os.path.split(path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_seconds)
    try:
        at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{at}/{name}")
        finally:
            os.close(at)
    except BaseException:
        connection.close()
        raise
    return connection


def send_fds(end: socket.socket, data: bytes, descriptors: Sequence[int], flags: int = 0) -> None:
    """Send descriptors with some data; raises OSError. (Python's own forgets its flags till 3.12.)"""
    end.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))], flags)


def recv_fds(end: socket.socket, size: int, most: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """Receive data and as many descriptors, which are not inherited; raises OSError."""
    found = array.array("i")
    data, rights, _, _ = end.recvmsg(size, socket.CMSG_LEN(most * found.itemsize), flags | socket.MSG_CMSG_CLOEXEC)
    for level, kind, content in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    return data, list(found)


__all__ = ["Listening", "connect", "listen", "recv_fds", "send_fds"]

"""empty.py MOUNTPOINT: the driver of the workers before handlers that answer with constants: the least that reading costs
with Python behind it. One file, ``file``; served by one process until it is unmounted.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import lxcfs_py.fuse.lean  # noqa: F401  (before pyfuse3)
from lxcfs_py.counters import FILES_AT
from lxcfs_py.daemon.mount import mount
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.reading import Reading
from lxcfs_py.fuse.requests import LeaveError, Requests, UnmountedError

TEXT = b"0.00 0.00 0.00 1/1 1\n"
LOOKUP, GETATTR, FLUSH = 1, 3, 25
ENOENT, ENOSYS = 2, 38


class Constants:
    """Answers what ``Operations`` does."""

    log: Any = None
    words: Any = memoryview(bytearray(8 * FILES_AT)).cast("Q")

    def owner(self, _inode: int, _pid: int) -> str:
        """Say that all are one's."""
        return ""

    def whose(self, _handle: int) -> bytes:
        """Say that all are one's."""
        return b""

    def opened(self, _inode: int, _flags: int, _pid: int) -> int:
        """Give the same handle to all."""
        return 1

    def piece(self, _handle: int, offset: int, _size: int) -> bytes:
        """Return the text."""
        return TEXT[offset:]

    def closed(self, _handle: int) -> None:
        """Do nothing."""


def attributes(inode: int) -> bytes:
    """Return what is said of an inode (struct fuse_attr)."""
    mode = stat.S_IFDIR | 0o555 if inode == 1 else stat.S_IFREG | 0o444
    return struct.pack("=6Q10I", inode, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 0, 0)


def other(request: memoryview) -> bytes:
    """Return the answer to a request that is not about an open file."""
    opcode, unique, inode, _ = protocol.asked(request)
    if opcode == LOOKUP:
        known = bytes(request[40:]).rstrip(b"\0") == b"file"
        entry = struct.pack("=QQQQII", 2, 0, 3600, 3600, 0, 0) + attributes(2)
        return protocol.success(unique, entry) if known else protocol.error(unique, ENOENT)
    if opcode == GETATTR:
        return protocol.success(unique, struct.pack("=QII", 3600, 0, 0) + attributes(inode))
    return protocol.error(unique, ENOSYS)


def main() -> None:
    """Serve."""
    fuse, _ = mount(sys.argv[1])
    constants: Any = Constants()
    reading = Reading(constants, fuse)
    requests = Requests(fuse, constants.words, reading.owner, None)
    try:
        while True:
            request = requests.following()
            if not reading.answered(request):
                os.write(fuse, other(request))
    except (LeaveError, UnmountedError):
        return


if __name__ == "__main__":
    main()

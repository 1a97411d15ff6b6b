"""openat2(2): paths that end inside a tree, whatever links are in it and whoever renames directories meanwhile."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from runtime.syscalls import _libc

OPENAT2 = 437
RESOLVE_NO_XDEV, RESOLVE_IN_ROOT = 0x1, 0x10
"""include/uapi/linux/openat2.h; IN_ROOT refuses /proc's jumping links, too."""
TRIES = 100
"""How often a look-up is begun again when somebody renames directories below the root (EAGAIN)."""


def openat2(root: int, path: bytes, flags: int) -> int:
    """Open ``path`` as if the directory ``root`` were ``/``; raises OSError naming the path."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_XDEV)
    for _ in range(TRIES):
        result = int(_libc.syscall(OPENAT2, root, path or b".", how, ctypes.c_size_t(len(how))))
        if result >= 0:
            return result
        if (number := ctypes.get_errno()) != errno.EAGAIN:
            break
    raise OSError(number, os.strerror(number), path)

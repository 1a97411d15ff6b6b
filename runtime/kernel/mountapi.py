"""The system calls that work on mounts and paths by descriptor (open_tree(2), mount_setattr(2), openat2(2)).

A mount made this way is complete before anybody can see it, and lands on the very directory that was looked at.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from runtime.kernel.syscalls import _checked, _libc

OPENAT2, OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 437, 428, 429, 442
RESOLVE_IN_ROOT = 0x10
"""Links and ``..`` end at the root, and /proc's jumping links are refused; include/uapi/linux/openat2.h"""
AT_EMPTY_PATH, AT_RECURSIVE, OPEN_TREE_CLONE = 0x1000, 0x8000, 1
RDONLY, NOSUID, NODEV, NOEXEC, ATIME, NOATIME, STRICTATIME, NODIRATIME = 1, 2, 4, 8, 0x70, 0x10, 0x20, 0x80
NOSYMFOLLOW, IDMAP = 0x200000, 0x100000
"""MOUNT_ATTR_*, include/uapi/linux/mount.h; ATIME is a field: NOATIME, STRICTATIME, relatime (0)."""
PROC_SUPER_MAGIC, SYSFS_MAGIC = 0x9FA0, 0x62656572
"""include/uapi/linux/magic.h"""
TRIES = 100
"""How often a look-up is begun again while somebody renames directories below the root (openat2(2), EAGAIN)."""


def openat2(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` as if ``root`` were /; raises OSError naming the path."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT)
    name = os.fsencode(path)
    for attempt in range(TRIES):
        result = int(_libc.syscall(OPENAT2, root, name, how, ctypes.c_size_t(len(how))))
        if result >= 0 or ctypes.get_errno() != errno.EAGAIN or attempt == TRIES - 1:
            break
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def open_tree(source: str, *, recursive: bool, at: int = -100) -> int:
    """Return a copy of a mount (AT_FDCWD is -100; an empty source is ``at`` itself), attached to nothing yet."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0) | (0 if source else AT_EMPTY_PATH)
    return _checked(_libc.syscall(OPEN_TREE, at, os.fsencode(source), flags), "bind", source)


def move_mount(tree: int, target: int, path: str) -> None:
    """Attach a copied tree to the directory or file open as ``target``; ``path`` is for the error."""
    _checked(_libc.syscall(MOVE_MOUNT, tree, b"", target, b"", 0x44), "mount", path)  # both by descriptor alone


def set_attributes(
    mount: int,
    path: str,
    *,
    set_: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
    userns: int = 0,
) -> None:
    """Change the flags and propagation (MS_PRIVATE, ...) of a mount, and leave its others; see mount_setattr(2)."""
    attributes = struct.pack("QQQQ", set_, clear, propagation, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    result = _libc.syscall(MOUNT_SETATTR, mount, b"", flags, attributes, ctypes.c_size_t(len(attributes)))
    _checked(result, "mount_setattr", path)


def file_system(descriptor: int) -> int:
    """Return the magic number of the file system a descriptor is on (statfs(2))."""
    buffer = ctypes.create_string_buffer(256)
    _checked(_libc.fstatfs(descriptor, buffer), "fstatfs")
    return int(struct.unpack_from("l", buffer)[0])

"""Mounts by descriptor (open_tree(2), mount_setattr(2)), paths that stay within a directory (openat2(2)), setns(2).

A mount made this way is complete before anybody can see it, and lands on the very directory that was looked at. Each
raises OSError naming the call and what it was for.
"""

from __future__ import annotations

import errno
import os
from _struct import pack, unpack_from

from lxcfs_py import libc
from lxcfs_py.libc import checked

SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_OPENAT2, SYS_MOUNT_SETATTR = 428, 429, 437, 442
"""The same on every architecture."""
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 1, 2, 4, 16
"""include/uapi/linux/openat2.h"""
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
"""MOUNT_ATTR_*, include/uapi/linux/mount.h"""
PROC_SUPER_MAGIC, SYSFS_MAGIC = 0x9FA0, 0x62656572
"""include/uapi/linux/magic.h"""
CLONE_NEWNS, CLONE_NEWCGROUP = 0x20000, 0x2000000
"""include/uapi/linux/sched.h"""
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE, OPEN_TREE_CLONE, MNT_DETACH = -100, 0x1000, 0x8000, 1, 2
BOTH_BY_DESCRIPTOR = 0x4 | 0x40
"""MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH"""
TRIES = 100
"""How often a look-up is begun again while somebody renames directories below the root (openat2(2), EAGAIN)."""


def openat2(directory: int, path: str | bytes, flags: int, resolve: int, mode: int = 0, *, name: str = "") -> int:
    """Open what a path below a directory leads to, as RESOLVE_* say; raises OSError naming the path, or ``name``."""
    how = pack("QQQ", flags | os.O_CLOEXEC, mode, resolve)
    below = os.fsencode(path)
    for attempt in range(TRIES):
        result = int(libc.syscall(SYS_OPENAT2, directory, below, how, len(how)))
        if result >= 0 or libc.error_number() != errno.EAGAIN or attempt == TRIES - 1:
            break
    if result < 0:
        number = libc.error_number()
        raise OSError(number, os.strerror(number), name or path)
    return result


def open_tree(source: str, *, recursive: bool, at: int = AT_FDCWD) -> int:
    """Return a copy of a mount (an empty source is ``at`` itself), attached to nothing yet."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | (AT_RECURSIVE if recursive else 0) | (0 if source else AT_EMPTY_PATH)
    return checked(libc.syscall(SYS_OPEN_TREE, at, os.fsencode(source), flags), "bind", source)


def move_mount(tree: int, target: int, path: str) -> None:
    """Attach a copied tree to the directory or file open as ``target``; ``path`` is for the error."""
    checked(libc.syscall(SYS_MOVE_MOUNT, tree, b"", target, b"", BOTH_BY_DESCRIPTOR), "mount", path)


def detach(mount: int, path: str) -> None:
    """Remove a mount again that was attached; see umount2(2)."""
    checked(libc.call("umount2", f"/proc/self/fd/{mount}".encode(), MNT_DETACH), "umount", path)


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
    attributes = pack("QQQQ", set_, clear, propagation, userns)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    result = libc.syscall(SYS_MOUNT_SETATTR, mount, b"", flags, attributes, len(attributes))
    checked(result, "mount_setattr", path)


def file_system(descriptor: int, path: str = "") -> int:
    """Return the magic number of the file system a descriptor is on (statfs(2))."""
    buffer = libc.buffer(256)
    checked(libc.call("fstatfs", descriptor, buffer), "fstatfs", path)
    return int(unpack_from("l", buffer)[0])


def enter(path: str, flags: int) -> None:
    """Enter the namespace of a file like /proc/PID/ns/mnt; see setns(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        checked(libc.call("setns", descriptor, flags), "setns", path)
    finally:
        os.close(descriptor)

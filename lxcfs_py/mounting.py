"""Mounts by descriptor, and paths that stay within a directory: mount calls of 5.2 on, openat2(2), setns(2).

Each raises OSError naming the call and what it was for.
"""

from __future__ import annotations

import ctypes
import os
import struct

PROC_SUPER_MAGIC, SYSFS_MAGIC = 0x9FA0, 0x62656572
"""include/uapi/linux/magic.h"""
RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 1, 2, 4, 16
"""include/uapi/linux/openat2.h"""
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
"""MOUNT_ATTR_* of include/uapi/linux/mount.h"""
CLONE_NEWNS, CLONE_NEWCGROUP = 0x20000, 0x2000000
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_OPENAT2, SYS_MOUNT_SETATTR = 428, 429, 437, 442
"""The same on every architecture."""
AT_EMPTY_PATH, AT_FDCWD, MNT_DETACH = 0x1000, -100, 2

_libc = ctypes.PyDLL(None, use_errno=True)


def _checked(result: int, call: str, path: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", path)
    return result


def copy(path: str) -> int:
    """Return a mount of what is at a path that is nowhere yet; see open_tree(2), OPEN_TREE_CLONE."""
    flags = ctypes.c_uint(1 | os.O_CLOEXEC)
    return _checked(_libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(path), flags), "open_tree", path)


def restrict(mount: int, attributes: int, path: str) -> None:
    """Give a mount attributes; see mount_setattr(2)."""
    about = struct.pack("4Q", attributes, 0, 0, 0)
    _checked(_libc.syscall(SYS_MOUNT_SETATTR, mount, b"", AT_EMPTY_PATH, about, len(about)), "mount_setattr", path)


def attach(mount: int, target: int, path: str) -> None:
    """Put a mount over what ``target`` is open at; see move_mount(2)."""
    flags = 0x4 | 0x40  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH
    _checked(_libc.syscall(SYS_MOVE_MOUNT, mount, b"", target, b"", flags), "move_mount", path)


def detach(mount: int) -> None:
    """Remove a mount again that was attached; see umount2(2)."""
    path = f"/proc/self/fd/{mount}"
    _checked(_libc.umount2(path.encode(), MNT_DETACH), "umount", path)


def open_in(directory: int, path: str, resolve: int, name: str) -> int:
    """Return what a path below a directory leads to, as O_PATH; see openat2(2)."""
    how = struct.pack("3Q", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, 0, resolve)
    return _checked(_libc.syscall(SYS_OPENAT2, directory, os.fsencode(path), how, len(how)), "openat2", name)


def kind(descriptor: int, path: str) -> int:
    """Return a file system's magic number; see statfs(2)."""
    about = ctypes.create_string_buffer(256)
    _checked(_libc.fstatfs(descriptor, about), "fstatfs", path)
    return int.from_bytes(about.raw[: struct.calcsize("l")], "little")


def enter(path: str, flags: int) -> None:
    """Enter the namespace of a file like /proc/PID/ns/mnt; see setns(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(descriptor, flags), "setns", path)
    finally:
        os.close(descriptor)

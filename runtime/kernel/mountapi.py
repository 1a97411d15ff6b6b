"""The system calls that work on mounts and paths by descriptor, as the runtime uses them (``lxcfs_py.mountapi``)."""

from __future__ import annotations

from lxcfs_py import mountapi
from lxcfs_py.mountapi import (
    AT_FDCWD,
    NODEV,
    NOEXEC,
    NOSUID,
    PROC_SUPER_MAGIC,
    RDONLY,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    SYSFS_MAGIC,
    file_system,
    move_mount,
    open_tree,
    set_attributes,
)

__all__ = [
    "NODEV", "NOEXEC", "NOSUID", "PROC_SUPER_MAGIC", "RDONLY", "SYSFS_MAGIC",
    "file_system", "move_mount", "open_here", "open_tree", "open_unmounted", "openat2", "set_attributes",
]  # fmt: skip

ATIME, NOATIME, STRICTATIME, NODIRATIME, NOSYMFOLLOW, IDMAP = 0x70, 0x10, 0x20, 0x80, 0x200000, 0x100000
"""MOUNT_ATTR_*, include/uapi/linux/mount.h; ATIME is a field: NOATIME, STRICTATIME, relatime (0)."""


def openat2(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open ``path`` as if ``root`` were /: links and ``..`` end there, and /proc's jumping links are refused."""
    return mountapi.openat2(root, path, flags, RESOLVE_IN_ROOT, mode)


def open_unmounted(directory: int, path: str, flags: int) -> int:
    """Open what a path below a directory leads to, if nothing is mounted on the way."""
    return mountapi.openat2(directory, path, flags, RESOLVE_NO_XDEV)


def open_here(path: str, flags: int) -> int:
    """Open a path as open(2) does, but by none of /proc's jumping links: these lead to what we have open."""
    return mountapi.openat2(AT_FDCWD, path, flags, RESOLVE_NO_MAGICLINKS)

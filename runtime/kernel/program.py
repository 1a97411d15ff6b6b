"""Programs of a few instructions that are made, not installed: an ELF file of one segment (elf(5)), in memory."""

from __future__ import annotations

import os
from _struct import pack

from lxcfs_py import libc
from lxcfs_py.libc import checked

SYS_FSOPEN, SYS_FSCONFIG, SYS_FSMOUNT = 430, 431, 432
"""The same on every architecture."""
FSOPEN_CLOEXEC, FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC = 1, 6, 1
"""include/uapi/linux/mount.h"""
AT = 0x400000
HEADERS_BYTES = 64 + 56
MFD_EXEC = 0x10
"""From 6.3 on, where memory isn't executable unless asked for (memfd_create(2))."""


def elf(machine: int, body: bytes) -> bytes:
    """Return the file; ``machine`` is elf.h's EM_*, ``body`` begins with the first instruction."""
    size = HEADERS_BYTES + len(body)
    ident = b"\x7fELF\2\1\1" + bytes(9)
    header = pack("=16sHHIQQQIHHHHHH", ident, 2, machine, 1, AT + HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = pack("=IIQQQQQQ", 1, 5, 0, AT, AT, size, size, 0x1000)
    return header + segment + body


def in_memory(name: str, data: bytes) -> int:
    """Return a descriptor of a file in memory that can be executed, -1 where the kernel allows none."""
    for flags in (MFD_EXEC, 0):
        try:
            found = os.memfd_create(name, os.MFD_CLOEXEC | flags)
        except OSError:  # an unknown flag, or vm.memfd_noexec
            continue
        if os.fstat(found).st_mode & 0o111:
            os.write(found, data)
            return found
        os.close(found)
    try:
        return _in_tmpfs(name, data)
    except OSError:  # it takes CAP_SYS_ADMIN
        return -1


def _in_tmpfs(name: str, data: bytes) -> int:
    """Return one on a file system of its own that is mounted nowhere (fsmount(2)), where vm.memfd_noexec forbids."""
    system = checked(libc.syscall(SYS_FSOPEN, b"tmpfs", FSOPEN_CLOEXEC), "fsopen", "tmpfs")
    mount = -1
    try:
        checked(libc.syscall(SYS_FSCONFIG, system, FSCONFIG_CMD_CREATE, None, None, 0), "fsconfig", "tmpfs")
        mount = checked(libc.syscall(SYS_FSMOUNT, system, FSMOUNT_CLOEXEC, 0), "fsmount", "tmpfs")
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, dir_fd=mount)
        os.write(file, data)
        os.fchmod(file, 0o755)
        os.close(file)  # what somebody may write to is not executed
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=mount)
    finally:
        os.close(system)
        if mount >= 0:
            os.close(mount)

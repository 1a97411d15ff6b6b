"""Opens files with the right of who asked, which the kernel judges by the opener's capabilities (capget(2))."""

from __future__ import annotations

import ctypes
import os
import struct

from lxcfs_py.fuse.triggers import CAP_SYS_RESOURCE

_CAPABILITIES = struct.Struct("=6I")
"""Effective, permitted, inheritable: 32 of each, then 32 more of each (capget(2), version 3)."""
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def set_privileged(on: bool) -> None:
    """Give this thread CAP_SYS_RESOURCE, if the process has it, or take it away; raises OSError."""
    header, data = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0)), ctypes.create_string_buffer(24)
    if _libc.capget(header, data) < 0:
        raise OSError(ctypes.get_errno(), "capget")
    effective, permitted, *others = _CAPABILITIES.unpack(data.raw[: _CAPABILITIES.size])
    bit = 1 << CAP_SYS_RESOURCE
    effective = effective | permitted & bit if on else effective & ~bit
    if _libc.capset(header, ctypes.create_string_buffer(_CAPABILITIES.pack(effective, permitted, *others))) < 0:
        raise OSError(ctypes.get_errno(), "capset")


def open_as(path: str, *, privileged: bool) -> int:
    """Open a pressure file with the caller's right to set triggers, which the kernel judges by the opener's."""
    set_privileged(privileged)
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        set_privileged(False)

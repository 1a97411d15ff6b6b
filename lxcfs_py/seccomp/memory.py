"""Writing into a caller's memory, in one of two ways; each writes all or says that it could not."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def by_file(proc: str, tid: int, waits: Callable[[], bool], address: int, data: bytes) -> bool:
    """Write by /proc/PID/mem, which stays that of the process it was opened of; raises OSError, OverflowError."""
    memory = os.open(f"{proc}/{tid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        return waits() and os.pwrite(memory, data, address) == len(data)
    finally:
        os.close(memory)


def by_number(_proc: str, tid: int, waits: Callable[[], bool], address: int, data: bytes) -> bool:
    """Write by process_vm_writev(2); raises OSError.

    A user can't open the file of a process with another of its ids, and for this needs no more than all rights in the
    process's user namespace. Should the process end just now and its number be another's at once, that is one the
    user might write to as well.
    """
    ours = ctypes.create_string_buffer(data, len(data))
    local, remote = _Vector(ctypes.addressof(ours), len(data)), _Vector(address, len(data))
    if not waits():
        return False
    return bool(
        _libc.process_vm_writev(tid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) == len(data) and waits()
    )

"""Programs of a few instructions that are made, not installed: an ELF file of one segment (elf(5)), in memory."""

from __future__ import annotations

import os
from _struct import pack

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
        os.write(found, data)
        return found
    return -1

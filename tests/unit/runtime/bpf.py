"""An interpreter of classic BPF as seccomp(2) runs it (Documentation/networking/filter.rst)."""

from __future__ import annotations

import struct

X86_64, I386, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
X32_BIT = 0x40000000
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x50000, 0
ENOSYS = ERRNO | 38


def interpret(program: bytes, number: int, architecture: int, arguments: tuple[int, ...] = ()) -> int:
    """Return what a filter says about a call (struct seccomp_data)."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *arguments, *(0,) * (6 - len(arguments)))
    accumulator = at = 0
    while True:
        opcode, if_true, if_false, constant = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        match opcode:
            case 0x20:
                accumulator = struct.unpack_from("=I", data, constant)[0]
            case 0x54:
                accumulator &= constant
            case 0x05:
                at += constant
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x25:
                at += if_true if accumulator > constant else if_false
            case 0x35:
                at += if_true if accumulator >= constant else if_false
            case 0x06:
                return int(constant)
            case _:
                raise AssertionError(f"opcode {opcode:#x}")

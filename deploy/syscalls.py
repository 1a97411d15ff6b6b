#!/usr/bin/env python3
"""Writes runtime/filters/{names,numbers}.py: the system calls, as Debian's libseccomp2 knows them, and newer ones.

Since Linux 5.1 a new call has one number everywhere (x32 adds its bit), so what libseccomp does not know yet is a
line in ``NEWER``.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

ARCHITECTURES = (0xC000003E, 0x40000003, 0x4000003E, 0xC00000B7, 0x40000028)
"""libseccomp's tokens (AUDIT_ARCH_*; x32 is its own invention), in the columns' order."""
X32, X32_BIT = 0x4000003E, 0x40000000
RANGES = (range(600), range(X32_BIT, X32_BIT + 600), range(0xF0000, 0xF0010))
"""Where numbers are: x32's have a bit, arm's private calls a place of their own."""
NEWER = {
    "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461,
    "mseal": 462, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
    "open_tree_attr": 467, "file_getattr": 468, "file_setattr": 469,
}  # fmt: skip
"""To Linux 6.17 (scripts/syscall.tbl)."""
HEAD = '''"""System calls' numbers on x86_64, x86, x32, aarch64 and arm, -1 where one isn't; by deploy/syscalls.py."""

from __future__ import annotations

NUMBERS: dict[str, tuple[int, int, int, int, int]] = {
'''
NAMES_HEAD = '''"""System calls' names, for what needs no numbers (0.3 ms to load); by deploy/syscalls.py."""

from __future__ import annotations

NAMES = (
'''


def known() -> dict[str, list[int]]:
    """Return libseccomp's names and numbers."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    found: dict[str, list[int]] = {}
    for column, token in enumerate(ARCHITECTURES):
        for number in (number for numbers in RANGES for number in numbers):
            if (token == X32) != bool(number & X32_BIT):
                continue
            name = library.seccomp_syscall_resolve_num_arch(ctypes.c_uint32(token), number)
            if name:
                found.setdefault(ctypes.string_at(name).decode(), [-1] * 5)[column] = number
    return found


def main() -> None:
    """Write the files."""
    rows = known()
    for name, number in NEWER.items():
        rows[name] = [number | (X32_BIT if token == X32 else 0) for token in ARCHITECTURES]
    lines = [f'    "{name}": ({", ".join(map(str, rows[name]))}),\n' for name in sorted(rows)]
    folder = Path(__file__).parents[1] / "runtime/filters"
    (folder / "numbers.py").write_text(HEAD + "".join(lines) + "}\n", encoding="utf-8")
    names = "".join(f'    "{name}",\n' for name in sorted(rows))
    (folder / "names.py").write_text(f"{NAMES_HEAD}{names})\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What libseccomp makes of ``linux.seccomp`` when it is used as runc uses it: the oracle."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

LIBRARY = ctypes.CDLL("libseccomp.so.2")
LIBRARY.seccomp_init.restype = ctypes.c_void_p
TOKENS = {
    "SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7, "SCMP_ARCH_ARM": 0x40000028,
}  # fmt: skip
ACTIONS = {
    "SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_THREAD": 0, "SCMP_ACT_KILL_PROCESS": 0x80000000, "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000, "SCMP_ACT_NOTIFY": 0x7FC00000, "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
OPERATORS = ("", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


class Compare(ctypes.Structure):
    """struct scmp_arg_cmp (seccomp.h)."""

    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def action(name: str, number: int | None) -> int:
    """Return SCMP_ACT_*(number)."""
    given = 1 if number is None else number
    return ACTIONS[name] | (given if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE") else 0)


def compare(row: Mapping[str, Any]) -> Compare:
    """Return one condition."""
    operator = OPERATORS.index(row["op"].removeprefix("SCMP_CMP_"))
    return Compare(row["index"], operator, row["value"], row.get("valueTwo", 0))


def export(seccomp: Mapping[str, Any]) -> bytes:
    """Return the program; raises OSError where libseccomp refuses the configuration."""

    def checked(result: int, what: str) -> None:
        if result < 0:
            raise OSError(-result, f"{what}: {os.strerror(-result)}")

    default = action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    context = ctypes.c_void_p(LIBRARY.seccomp_init(ctypes.c_uint32(default)))
    file = os.memfd_create("bpf")
    try:
        for name in seccomp.get("architectures", ()):
            if LIBRARY.seccomp_arch_exist(context, TOKENS[name]) != 0:
                checked(LIBRARY.seccomp_arch_add(context, ctypes.c_uint32(TOKENS[name])), name)
        for row in seccomp["syscalls"]:
            returns = action(row["action"], row.get("errnoRet"))
            if returns == default:
                continue
            conditions = [compare(each) for each in row.get("args", ())]
            several = len({each.arg for each in conditions}) < len(conditions)
            alternatives = [[each] for each in conditions] if several else [conditions]
            for name in row["names"]:
                number = LIBRARY.seccomp_syscall_resolve_name(name.encode())
                if number == -1:
                    continue
                for each in alternatives:
                    array = (Compare * len(each))(*each)
                    checked(
                        LIBRARY.seccomp_rule_add_array(context, ctypes.c_uint32(returns), number, len(each), array),
                        f"{name} {row}",
                    )
        checked(LIBRARY.seccomp_export_bpf(context, file), "export")
        return os.pread(file, 1 << 20, 0)
    finally:
        os.close(file)
        LIBRARY.seccomp_release(context)

"""The ways to make system calls: the architectures OCI names (config-linux.md, "Seccomp"), and calls of calls."""

from __future__ import annotations

from lxcfs_py.record import Record


class Architecture(Record):
    """AUDIT_ARCH_* (include/uapi/linux/audit.h), the column of its numbers, how wide arguments are, and its range."""

    audit: int
    column: int
    bits: int
    first: int = 0
    end: int = 0xFFFFFFFF
    """Where the numbers end that are given out in order."""


X86_64, X86, X32, ARM = "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"
X32_BIT = 0x40000000
ARCHITECTURES = {
    X86_64: Architecture(0xC000003E, 0, 64, end=X32_BIT),
    X86: Architecture(0x40000003, 1, 32),
    X32: Architecture(0xC000003E, 2, 32, first=X32_BIT),
    "SCMP_ARCH_AARCH64": Architecture(0xC00000B7, 3, 64),
    ARM: Architecture(0x40000028, 4, 32, end=0xF0000),  # there begin its private calls
}
ELSEWHERE = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PARISC",
        "PARISC64", "PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB",
    )
)  # fmt: skip
"""What OCI names and no machine with a table here can call by: taken, and without effect."""
NATIVE = {
    "x86_64": X86_64, "i386": X86, "i686": X86, "aarch64": "SCMP_ARCH_AARCH64", "armv7l": ARM, "armv8l": ARM,
}  # fmt: skip
"""By uname(2)'s machine."""

MULTIPLEXED = {
    "socketcall": (
        "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send",
        "recv", "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4",
        "recvmmsg", "sendmmsg",
    ),
    "ipc": (
        "semop", "semget", "semctl", "semtimedop", "", "", "", "", "", "", "msgsnd", "msgrcv", "msgget", "msgctl",
        "", "", "", "", "", "", "shmat", "shmdt", "shmget", "shmctl",
    ),
}  # fmt: skip
"""x86's calls of calls: socketcall(2), ipc(2). The first argument counts these from 1."""
BEHIND = {name: (call, at) for call, names in MULTIPLEXED.items() for at, name in enumerate(names, 1) if name}

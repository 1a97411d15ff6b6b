"""System calls Python has no name for. Each raises OSError naming the call and what it was for."""

from __future__ import annotations

import os
from _struct import pack, unpack

from lxcfs_py import libc
from lxcfs_py.libc import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxcfs_py.libc import Array

CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP = 0x80, 0x20000, 0x2000000
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x4000000, 0x8000000, 0x20000000, 0x40000000
CLONE_PARENT, CLONE_NEWUSER = 0x8000, 0x10000000
"""include/uapi/linux/sched.h"""
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME = 1, 2, 4, 8, 1024
MS_MOVE, MS_REC, MS_STRICTATIME = 8192, 16384, 1 << 24
MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 17, 1 << 18, 1 << 19, 1 << 20
"""include/uapi/linux/mount.h"""
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_CAPBSET_DROP = 1, 4, 8, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47
"""include/uapi/linux/prctl.h"""
_NUMBERS = {"x86_64": (155, 321, 317, 250, 314, 251, 238), "aarch64": (41, 280, 277, 219, 274, 30, 237)}
(
    SYS_PIVOT_ROOT, SYS_BPF, SYS_SECCOMP, SYS_KEYCTL, SYS_SCHED_SETATTR, SYS_IOPRIO_SET, SYS_SET_MEMPOLICY,
) = _NUMBERS.get(os.uname().machine, _NUMBERS["x86_64"])  # fmt: skip
SYS_RENAMEAT2 = {"x86_64": 316, "aarch64": 276}.get(os.uname().machine, 316)
SYS_CLONE3, SYS_CLOSE_RANGE, SYS_PIDFD_GETFD = 435, 436, 438
"""From 424 on all architectures count alike."""


def _text(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """See mount(2)."""
    result = libc.call("mount", _text(source), _text(target), _text(fstype), flags, _text(data))
    checked(result, f"mount {fstype or ''} {source or ''}".replace("  ", " "), target)


def umount2(target: str, flags: int = 0) -> None:
    """See umount2(2)."""
    checked(libc.call("umount2", _text(target), flags), "umount", target)


def pivot_root(new: str, old: str) -> None:
    """See pivot_root(2)."""
    checked(libc.syscall(SYS_PIVOT_ROOT, _text(new), _text(old)), "pivot_root", new)


def unshare(flags: int) -> None:
    """See unshare(2)."""
    checked(libc.call("unshare", flags), f"unshare {flags:#x}")


def setns(descriptor: int, flags: int) -> None:
    """See setns(2)."""
    checked(libc.call("setns", descriptor, flags), f"setns {flags:#x}")


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    """See prctl(2)."""
    return checked(libc.call("prctl", option, argument, second, 0, 0), f"prctl {option}")


def sethostname(name: str) -> None:
    """See sethostname(2)."""
    encoded = name.encode()
    checked(libc.call("sethostname", encoded, len(encoded)), f"sethostname {name}")


def setdomainname(name: str) -> None:
    """See setdomainname(2)."""
    encoded = name.encode()
    checked(libc.call("setdomainname", encoded, len(encoded)), f"setdomainname {name}")


def setrlimit(resource: int, soft: int, hard: int) -> None:
    """See setrlimit(2)."""
    limits = pack("QQ", soft & 2**64 - 1, hard & 2**64 - 1)
    checked(libc.call("setrlimit", resource, limits), f"setrlimit {resource} {soft}:{hard}")


def personality(persona: int) -> None:
    """See personality(2)."""
    checked(libc.call("personality", persona), f"personality {persona:#x}")


def join_session_keyring(name: str) -> None:
    """See keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: a new one of this name, or ours of that name."""
    checked(libc.syscall(SYS_KEYCTL, 1, name.encode()), f"keyctl: session keyring {name}")


def sched_setattr(policy: int, flags: int, nice: int, priority: int, times: tuple[int, int, int]) -> None:
    """See sched_setattr(2); ``times`` are runtime, deadline and period in nanoseconds."""
    attributes = pack("=IIQiIQQQ", 48, policy, flags, nice, priority, *times)
    checked(libc.syscall(SYS_SCHED_SETATTR, 0, attributes, 0), f"sched_setattr: policy {policy}")


def ioprio_set(class_: int, priority: int) -> None:
    """See ioprio_set(2), for the calling process."""
    checked(libc.syscall(SYS_IOPRIO_SET, 1, 0, class_ << 13 | priority), f"ioprio_set {class_}:{priority}")


def set_mempolicy(mode: int, nodes: Iterable[int]) -> None:
    """See set_mempolicy(2), for the calling process; ``mode`` has its flags."""
    mask = sum(1 << node for node in nodes)
    words = mask.bit_length() // 64 + 1
    data = mask.to_bytes(8 * words, "little") if mask else None
    bits = 64 * words + 1 if mask else 0  # one more than it looks at
    checked(libc.syscall(SYS_SET_MEMPOLICY, mode, data, bits), f"set_mempolicy {mode:#x}")


def capget() -> tuple[int, int, int]:
    """Return our effective, permitted and inheritable capabilities; see capget(2)."""
    found = libc.buffer(24)
    checked(libc.call("capget", pack("II", 0x20080522, 0), found), "capget")
    words = unpack("6I", found.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """See capset(2), version 3: three masks of 64 bits."""
    words = (mask >> shift & 0xFFFFFFFF for shift in (0, 32) for mask in (effective, permitted, inheritable))
    checked(libc.call("capset", pack("II", 0x20080522, 0), pack("6I", *words)), "capset")


def clone(flags: int, cgroup: int = -1) -> int:
    """Fork into new namespaces and, unless -1, into the cgroup2 directory open as ``cgroup``; see clone3(2)."""
    into = 0x200000000 if cgroup >= 0 else 0  # CLONE_INTO_CGROUP
    signal = 0 if flags & CLONE_PARENT else 17  # SIGCHLD; a sibling takes over the caller's
    arguments = pack("11Q", flags | into, 0, 0, 0, signal, 0, 0, 0, 0, 0, max(cgroup, 0))
    return checked(libc.syscall(SYS_CLONE3, arguments, len(arguments)), f"clone3 {flags:#x}")


def close_on_exec(first: int) -> None:
    """Mark every descriptor from ``first`` on; see close_range(2), CLOSE_RANGE_CLOEXEC (5.11)."""
    checked(libc.syscall(SYS_CLOSE_RANGE, first, 2**32 - 1, 4), "close_range")


def bpf(command: int, attributes: bytes | Array, what: str) -> int:
    """See bpf(2); ``attributes`` is what the command takes, a buffer where the kernel writes into it."""
    return checked(libc.syscall(SYS_BPF, command, attributes, len(attributes)), f"bpf: {what}")


def seccomp(operation: int, flags: int, program: bytes | None) -> int:
    """See seccomp(2): load a filter of classic BPF; with NEW_LISTENER return its descriptor, close-on-exec."""
    argument = None
    if program is not None:
        code = libc.buffer(program)
        argument = pack("HxxxxxxQ", len(program) // 8, libc.address(code))  # struct sock_fprog
    result = libc.syscall(SYS_SECCOMP, operation, flags, argument)
    return checked(result, "seccomp: load the filter")


def exchange(one: str, other: str) -> None:
    """Let two names change places at once (renameat2(2), RENAME_EXCHANGE)."""
    checked(libc.syscall(SYS_RENAMEAT2, -100, _text(one), -100, _text(other), 2), "rename", one)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """Return a duplicate of another process's descriptor; see pidfd_getfd(2), 5.6."""
    return checked(libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0), f"pidfd_getfd {number}")


def syncfs(descriptor: int) -> None:
    """Write the file system a descriptor is on to its disk; see syncfs(2)."""
    checked(libc.call("syncfs", descriptor), "syncfs")

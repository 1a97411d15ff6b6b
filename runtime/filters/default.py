"""The system calls a container may make if nothing else is said, in Docker's spirit: all that are known but these.

Each family says why its calls are refused (section 2 of the manual pages), and which capabilities, any of them,
give them back: then the kernel judges them as it would anyway. What is newer than the table of numbers fails with
ENOSYS (``runtime.filters.compiler``).
"""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime.filters.names import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
EPERM, ENOSYS = 1, 38
ADMIN = "CAP_SYS_ADMIN"


class Family(Record):
    """Calls that are refused for one reason."""

    reason: str
    names: tuple[str, ...]
    unless: tuple[str, ...] = ()
    """Capabilities that give them back; none: nothing does but going without a profile."""


REFUSED = (
    Family(
        "mounts decide what is seen: under one of its own nothing stays masked or read-only",
        (
            "mount", "umount", "umount2", "pivot_root", "fsopen", "fsconfig", "fsmount", "fspick", "move_mount",
            "mount_setattr", "open_tree", "open_tree_attr",
        ),
        (ADMIN,),
    ),
    Family(
        "in a user namespace of one's own everybody is root, and most of the kernel's holes are root's to reach",
        ("unshare", "setns", "clone", "clone3"),
        (ADMIN,),
    ),
    Family("the names are the host's where the UTS namespace is", ("sethostname", "setdomainname"), (ADMIN,)),
    Family("quotas are the file system's, whoever has it mounted", ("quotactl", "quotactl_fd"), (ADMIN,)),
    Family("tells where the kernel's profiler found files", ("lookup_dcookie",), (ADMIN,)),
    Family("watches, and may hold up, whoever opens files on a mount", ("fanotify_init",), (ADMIN,)),
    Family("programs that run in the kernel", ("bpf",), (ADMIN, "CAP_BPF")),
    Family("measures kernel and CPU, and others' secrets with them", ("perf_event_open",), (ADMIN, "CAP_PERFMON")),
    Family("the kernel's log tells addresses, and of everybody", ("syslog",), (ADMIN, "CAP_SYSLOG")),
    Family("keyrings belong to users, not to containers", ("add_key", "keyctl", "request_key")),
    Family(
        "code for the kernel",
        ("init_module", "finit_module", "delete_module", "create_module", "get_kernel_syms", "query_module"),
        ("CAP_SYS_MODULE",),
    ),
    Family("another kernel", ("kexec_load", "kexec_file_load")),
    Family("ends the pid namespace at best, the machine at worst", ("reboot",), ("CAP_SYS_BOOT",)),
    Family(
        "the clock is everybody's",
        ("clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "settimeofday", "stime"),
        ("CAP_SYS_TIME",),
    ),
    Family(
        "the machine's ports and buses",
        ("ioperm", "iopl", "pciconfig_iobase", "pciconfig_read", "pciconfig_write"),
        ("CAP_SYS_RAWIO",),
    ),
    Family(
        "where memory lies is how the host divides it",
        (
            "get_mempolicy", "set_mempolicy", "set_mempolicy_home_node", "mbind", "migrate_pages", "move_pages",
        ),
        ("CAP_SYS_NICE",),
    ),
    Family("orders the kernel's addresses", ("kcmp",), ("CAP_SYS_PTRACE",)),
    Family(
        "opens any file of a file system by its number, outside of what is mounted too",
        ("open_by_handle_at",),
        ("CAP_DAC_READ_SEARCH",),
    ),
    Family("leads out of a root directory again", ("chroot",), ("CAP_SYS_CHROOT",)),
    Family("has every process' end written to a file", ("acct",), ("CAP_SYS_PACCT",)),
    Family("takes a terminal from whoever has it", ("vhangup",), ("CAP_SYS_TTY_CONFIG",)),
    Family("labels are for the host's policy to give", ("lsm_set_self_attr",), ("CAP_MAC_ADMIN",)),
    Family("swap is the machine's", ("swapon", "swapoff")),
    Family("stops the kernel amid a copy, which makes races exact", ("userfaultfd",)),
    Family("calls that pass by every filter", ("io_uring_setup", "io_uring_enter", "io_uring_register")),
    Family("old emulations, little tried", ("personality", "vm86", "vm86old")),
    Family("nothing needs them any more", ("uselib", "ustat", "sysfs", "nfsservctl", "_sysctl")),
    Family("some families of sockets know no network namespace", ("socket", "socketcall")),
)  # fmt: skip
"""What of clone, clone3, personality, socket and socketcall is allowed all the same is in ``_exceptions``."""

NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW* in clone(2)'s flags: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, each with UNAME26, and asking (personality(2))."""
AF_VSOCK = 40
"""The hypervisor's."""
SOCKET = 1
"""SYS_SOCKET of socketcall(2)."""


def _row(name: str, *conditions: tuple[int, str, int], action: str = ALLOW, **more: int) -> dict[str, Any]:
    args = [{"index": index, "op": f"SCMP_CMP_{op}", "value": value} for index, op, value in conditions]
    return {"names": [name], "action": action, **({"args": args} if args else {}), **more}


def _exceptions(given: Collection[str]) -> list[dict[str, Any]]:
    """Return what is allowed of calls that are refused as a whole."""
    clone = _row("clone", (0, "MASKED_EQ", NEW_NAMESPACES))
    clone["args"][0]["valueTwo"] = 0
    threads = [clone, _row("clone3", action=ERRNO, errnoRet=ENOSYS)]  # its flags are behind a pointer: use clone
    return [
        *([] if ADMIN in given else threads),
        *(_row("personality", (0, "EQ", value)) for value in PERSONALITIES),
        _row("socket", (0, "NE", AF_VSOCK)),
        _row("socketcall", (0, "NE", SOCKET)),
    ]


def profile(given: Collection[str], architectures: Collection[str]) -> dict[str, Any]:
    """Return ``linux.seccomp`` for a container that has these capabilities."""
    refused = {name for family in REFUSED if not set(family.unless) & set(given) for name in family.names}
    return {
        "defaultAction": ERRNO,
        "defaultErrnoRet": EPERM,
        "architectures": list(architectures),
        "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],  # as of 5.16 the kernel's default; before, filters cost speed
        "syscalls": [
            {"names": [name for name in NAMES if name not in refused], "action": ALLOW},
            *_exceptions(given),
        ],
    }

"""Capabilities by name: what a container gets (capabilities(7); numbers of linux/capability.h)."""

from __future__ import annotations

from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
    "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
"""Every capability; the position is the kernel's number."""

DEFAULT = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
    "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
)  # fmt: skip
"""The fourteen Docker leaves to a container."""


def canonical(name: str, option: str) -> str:
    """Return ``CAP_NET_ADMIN`` for it or ``net_admin``, and ALL; raises an Error naming the option."""
    upper = name.upper()
    full = upper if upper.startswith("CAP_") or upper == "ALL" else f"CAP_{upper}"
    if full == "CAP_ALL":
        full = "ALL"
    if full != "ALL" and full not in NAMES:
        raise RunError(f"{option} {name!r}: unknown capability", "capabilities(7) lists them; or ALL")
    return full


def resolve(add: Iterable[str], drop: Iterable[str]) -> tuple[str, ...]:
    """Return the set to give, in the kernel's order, from --cap-add and --cap-drop by Docker's rules.

    With ``ALL`` added, everything but what is dropped; with ``ALL`` dropped, only what is added.
    """
    added = {canonical(name, "--cap-add") for name in add}
    dropped = {canonical(name, "--cap-drop") for name in drop}
    if "ALL" in added and "ALL" in dropped:
        raise RunError("--cap-add ALL with --cap-drop ALL: they contradict each other", "leave one out")
    if "ALL" in added:
        chosen = set(NAMES) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = set(DEFAULT) - dropped | added
    return tuple(name for name in NAMES if name in chosen)


def mask(names: Iterable[str]) -> int:
    """Return the bit mask capset(2) takes; names the kernel's table lacks are an Error."""
    return sum(1 << NAMES.index(canonical(name, "capability")) for name in set(names))

"""What passes between kernel, runtime, keeper and agent (include/uapi/linux/seccomp.h, seccomp_unotify(2)).

The runtime's part is OCI's (runtime-spec, config-linux.md, "The Container Process State"): it connects to
``socket_path`` and sends the state, as JSON, with the listener; ``fds`` names the descriptors in their order.
"""

from __future__ import annotations

import os
from _struct import Struct

from lxcfs_py import json_text
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from lxcfs_py.host import Host

SYSINFO, SCHED_GETAFFINITY = "sysinfo", "sched_getaffinity"
CALLS = (SYSINFO, SCHED_GETAFFINITY)
"""What is answered."""


class Architecture(Record):
    """One way to make system calls: AUDIT_ARCH_* (include/uapi/linux/audit.h) and the numbers of ours."""

    audit: int
    numbers: Mapping[str, int]
    bits: int


ARCHITECTURES = {
    "SCMP_ARCH_X86_64": Architecture(0xC000003E, {SYSINFO: 99, SCHED_GETAFFINITY: 204}, 64),
    "SCMP_ARCH_X86": Architecture(0x40000003, {SYSINFO: 116, SCHED_GETAFFINITY: 242}, 32),
}
"""By OCI's names. x32's numbers are others: its calls reach no agent."""
MACHINE = "x86_64"
"""The machine whose kernels have them; on others there is no agent yet."""

NOTIF_RECV, NOTIF_SEND, NOTIF_ID_VALID = 0xC0502100, 0xC0182101, 0x40082102
"""SECCOMP_IOCTL_*; RECV and SEND may block or fail with ENOENT when the caller was killed."""
FLAG_CONTINUE = 1
"""SECCOMP_USER_NOTIF_FLAG_CONTINUE (5.5): the kernel carries the call out as if nothing had been."""
_NOTIF = Struct("=QIIiIQ6Q")
_RESPONSE = Struct("=QqiI")
NOTIF_BYTES = _NOTIF.size


class Call(Record):
    """A call that was received: struct seccomp_notif. ``tid`` is 0 if the caller is outside of our pid namespace."""

    id: int
    tid: int
    name: str
    """One of ``CALLS``, "" for any other."""
    bits: int
    arguments: tuple[int, ...]


def parse_call(data: bytes) -> Call:
    """Return what the kernel wrote."""
    id_, tid, _, number, audit, _, *arguments = _NOTIF.unpack_from(data)
    for architecture in ARCHITECTURES.values():
        for name, its in architecture.numbers.items():
            if (audit, number) == (architecture.audit, its):
                return Call(id_, tid, name, architecture.bits, tuple(arguments))
    return Call(id_, tid, "", 64, tuple(arguments))


def response(id_: int, value: int | None) -> bytes:
    """Return struct seccomp_notif_resp: what the call returns, None to let the kernel carry it out."""
    return _RESPONSE.pack(id_, value or 0, 0, FLAG_CONTINUE if value is None else 0)


SOCKET = "/lxcfs-py/seccomp.sock"


def socket_path(host: Host) -> str:
    """Return where the keeper listens: a stream socket of root's."""
    return f"{host.run}{SOCKET}"


USERS_SOCKET = "/lxcfs-py/seccomp-users.sock"


def users_socket_path(host: Host) -> str:
    """Return where the keeper listens to ordinary users: as the other one, but it speaks first.

    It says ``READY``, and then takes the state; or it says in a sentence why it doesn't, and closes.
    """
    return f"{host.run}{USERS_SOCKET}"


READY = b"ready"
STATE_BYTES = 1 << 16
"""The longest state that is read."""
FDS = 8
LISTENER_NAME = "seccompFd"


KIND = "anon_inode:seccomp notify"


def is_listener(descriptor: int) -> bool:
    """Say whether a descriptor is a listener; raises OSError."""
    return os.readlink(f"/proc/self/fd/{descriptor}") == KIND


class Sent(Record):
    """A container process state."""

    id: str
    listener: int
    """Which of the descriptors it is."""


def parse_state(data: bytes) -> Sent | None:
    """Return what a runtime said, None if it is none."""
    try:
        state = json_text.loads(data)
        names, id_ = state["fds"], state["state"]["id"]
        listener = names.index(LISTENER_NAME)
        id_.encode("utf-8", "surrogateescape")  # (JSON can say halves of characters)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return Sent(id_, listener) if isinstance(id_, str) and len(id_) < 256 else None


def state(seccomp: Mapping[str, Any], container: Mapping[str, Any], pid: int, fds: Sequence[str]) -> bytes:
    """Return the state to send for a process: ``seccomp`` is the configuration's, ``container`` OCI's state."""
    found = {"ociVersion": container["ociVersion"], "fds": list(fds), "pid": pid, "state": dict(container)}
    if seccomp.get("listenerMetadata"):
        found["metadata"] = seccomp["listenerMetadata"]
    return json_text.dumps(found)


# Between keeper and agent: a socket pair of SOCK_SEQPACKET.

_SLOT = Struct("=I")
LAYOUT = 1
"""Of the memory that keepers and agents share, and of what is kept with listeners."""
SLOTS = 15_000
"""So many fit into a store's queue (lxcfs_py.store)."""
SLOT_BYTES = 512
"""A listener's place in shared memory: struct seccomp_notif as the kernel wrote it, zeros while there is none."""
TRIES, HOPELESS = NOTIF_BYTES, NOTIF_BYTES + 1
"""Where in it stands how often the call was begun, and whether a call of this listener has held an agent up."""
ID_AT, ID_BYTES = 128, 256
"""Where in it stands the container, for the keeper that comes next; no file of a longer name could register it."""
PULSE_AT = SLOTS * SLOT_BYTES
"""Behind the slots: how often the agent has begun or ended a call; odd while it is at one."""
AGENT_AT = PULSE_AT + 8
AGENT = Struct("=2q")
"""And the agent that serves them: pid and start in ticks."""
MEMORY_BYTES = PULSE_AT + SLOT_BYTES


def begin_slot(id_: str) -> bytes:
    """Return what is in a slot before its listener is served."""
    name = id_.encode("utf-8", "surrogateescape")[:ID_BYTES].ljust(ID_BYTES, b"\0")
    return (bytes(ID_AT) + name).ljust(SLOT_BYTES, b"\0")


def slot_id(data: bytes) -> str:
    """Return the container of a slot."""
    return data[ID_AT : ID_AT + ID_BYTES].rstrip(b"\0").decode("utf-8", "surrogateescape")


CALLER = 1 << 31
"""With a slot: what comes with it is no listener yet, but the connection of a user who brings one."""


def place(slot: int, id_: str = "") -> bytes:
    """Return a message: the keeper's with a listener, or the agent's, that the listener's last process has ended.

    An agent of a user's is sent connections too, and sends the listeners that came by them.
    """
    return _SLOT.pack(slot) + id_.encode("utf-8", "surrogateescape")


def parse_place(data: bytes) -> tuple[int, str]:
    """Return slot and container."""
    return _SLOT.unpack_from(data)[0], data[_SLOT.size :].decode("utf-8", "surrogateescape")

"""The seccomp filter: not to forbid anything, but to have some system calls answered (lxcfs_py.seccomp).

It is OCI's ``linux.seccomp`` with SCMP_ACT_ALLOW and SCMP_ACT_NOTIFY, assembled here: one filter of classic BPF,
which the process loads for itself and whose listener it sends to ``listenerPath`` (config-linux.md, "Seccomp").
Loading one without no_new_privs takes CAP_SYS_ADMIN, so it is done before anything is given up. A process that
enters a container later isn't covered by the filter of the first one and loads its own.
"""

from __future__ import annotations

import os

from lxcfs_py.seccomp import protocol
from runtime import syscalls as sc
from runtime.errors import RunError
from runtime.report import send
from runtime.state import OCI_VERSION
from runtime.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Mapping
    from typing import Any

    from lxcfs_py.host import Host
else:
    import _socket

FLAGS = {
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,  # before 5.16 a filter costs mitigations that only a sandbox needs
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,  # 5.19: a caller's signals don't interrupt what was received
}
NEW_LISTENER = 8
SET_MODE_FILTER = 1
ALLOW, NOTIFY = "SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY"

# Classic BPF (include/uapi/linux/filter.h): one instruction is opcode, jumps if true and false, and a constant.
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER_AT, ARCHITECTURE_AT = 0, 4
"""Where struct seccomp_data has them."""
RETURNS = {ALLOW: 0x7FFF0000, NOTIFY: 0x7FC00000}


def offered() -> bool:
    """Say whether the kernel has all that is needed: 5.19, by its newest part.

    Without WAIT_KILLABLE_RECV a signal's handler could run while the agent writes into the caller's memory.
    """
    import errno

    if os.uname().machine != protocol.MACHINE:
        return False
    try:
        sc.seccomp(SET_MODE_FILTER, NEW_LISTENER | sum(FLAGS.values()), None)
    except OSError as error:
        return error.errno == errno.EFAULT  # the flags were looked at first, and found good
    raise AssertionError


def profile(host: Host) -> dict[str, Any]:
    """Return ``linux.seccomp`` that has the daemon's agent asked."""
    return {
        "defaultAction": ALLOW,
        "architectures": list(protocol.ARCHITECTURES),
        "flags": list(FLAGS),
        "listenerPath": protocol.socket_path(host),
        "syscalls": [{"names": list(protocol.CALLS), "action": NOTIFY}],
    }


def _instruction(opcode: int, constant: int, if_true: int = 0, if_false: int = 0) -> bytes:
    from _struct import pack

    return pack("=HBBI", opcode, if_true, if_false, constant)


def program(seccomp: Mapping[str, Any]) -> bytes:
    """Return the filter; raises an Error for what it has no words for."""
    actions = {seccomp["defaultAction"]: (), **{row["action"]: row["names"] for row in seccomp["syscalls"]}}
    if actions.keys() - RETURNS.keys() or seccomp["defaultAction"] != ALLOW:
        raise RunError(f"seccomp action {', '.join(sorted(actions))}: unknown", f"{ALLOW} and {NOTIFY} are known")
    code = [_instruction(LOAD, ARCHITECTURE_AT)]
    for name in seccomp["architectures"]:
        architecture = protocol.ARCHITECTURES[name]
        block = [_instruction(LOAD, NUMBER_AT)]
        for call in actions.get(NOTIFY, ()):
            block += [
                _instruction(JUMP_EQUAL, architecture.numbers[call], if_false=1),
                _instruction(RETURN, RETURNS[NOTIFY]),
            ]
        block.append(_instruction(RETURN, RETURNS[ALLOW]))
        code += [_instruction(JUMP_EQUAL, architecture.audit, if_false=len(block)), *block]
    return b"".join([*code, _instruction(RETURN, RETURNS[ALLOW])])


def connect(path: str) -> _socket.socket:
    """Connect to an agent; raises OSError naming the path."""
    directory, name = os.path.split(path)
    at = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        agent.connect(f"/proc/self/fd/{at}/{name}")  # a socket's address has 108 bytes, a path may have more
    except OSError as error:
        agent.close()
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(at)
    return agent


class Filter(Step):
    """Have system calls answered by the agent at ``listenerPath``; done as long as the host's tree is seen.

    If that can't be, ``must`` makes it an error; otherwise it is said on stderr.
    """

    seccomp: Mapping[str, Any]
    id: str
    bundle: str
    must: bool = False

    def describe(self) -> str:
        """Return what a person wants to know of it."""
        names = [name for row in self.seccomp["syscalls"] if row["action"] == NOTIFY for name in row["names"]]
        return f"filter {','.join(names)} answered by {self.seccomp['listenerPath']}"

    def execute(self) -> None:
        """Do it, for this process and those it will make."""
        loaded = self.load()
        if loaded is not None:
            pid = int(os.readlink("/proc/self"))  # ours as the runtime counts, whatever our pid namespace is
            self.hand_over(*loaded, pid)

    def load(self) -> tuple[_socket.socket, int] | None:
        """Load the filter; return the agent's socket and the listener, None if it can't be."""
        try:
            agent = connect(self.seccomp["listenerPath"])
            flags = NEW_LISTENER | sum(FLAGS[name] for name in self.seccomp["flags"])
            return agent, sc.seccomp(SET_MODE_FILTER, flags, program(self.seccomp))
        except OSError as error:  # EBUSY: a filter above us has a listener already, and there can be one
            if self.must:
                raise
            os.write(2, f"pyproc: sysinfo(2) and sched_getaffinity(2) tell the host's figures: {error}\n".encode())
            return None

    def hand_over(self, agent: _socket.socket, listener: int, pid: int) -> None:
        """Send the listener: from here on the calls of ``pid`` are the agent's to answer; raises OSError."""
        container = {
            "ociVersion": OCI_VERSION, "id": self.id, "status": "creating", "pid": pid, "bundle": self.bundle,
        }  # fmt: skip
        send(agent, protocol.state(self.seccomp, container, pid, [protocol.LISTENER_NAME]), listener)
        agent.close()
        os.close(listener)


def steps(spec: Mapping[str, Any], id_: str, bundle: str, *, must: bool = False) -> list[Filter]:
    """Return the step for a configuration's ``linux.seccomp``, none where there is none."""
    return [Filter(spec["linux"]["seccomp"], id_, bundle, must)] if "seccomp" in spec["linux"] else []

"""The filter of a container's system calls: OCI's ``linux.seccomp`` (config-linux.md, "Seccomp"), and what it holds.

It is the default profile or the one that was asked for, and before its entries one that has some calls answered by
the daemon's agent (lxcfs_py.seccomp): a process can have one listener, so one filter does both.

Each process loads it just before it becomes its command. Loading one without no_new_privs takes CAP_SYS_ADMIN, so
that it is done before rights are given up: what does that must be allowed inside too (setresuid(2), capset(2), ...).
A process that enters a container later isn't covered by the filter of the first one and loads its own.
"""

from __future__ import annotations

import errno
import os

from lxcfs_py.errors import reason
from lxcfs_py.record import Record
from lxcfs_py.seccomp import protocol
from runtime.errors import RunError
from runtime.filters import cache
from runtime.kernel import syscalls as sc
from runtime.report import connect, send
from runtime.state import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Mapping
    from typing import Any

    from lxcfs_py.host import Host
    from runtime.filters.cache import Compiled

NEW_LISTENER, SPEC_ALLOW, WAIT_KILLABLE_RECV = 8, 4, 32
"""SECCOMP_FILTER_FLAG_* (include/uapi/linux/seccomp.h)."""
SET_MODE_FILTER = 1
ALLOW, NOTIFY = "SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY"
FLAGS = (
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",  # before 5.16 a filter costs mitigations that only a sandbox needs
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",  # 5.19: a caller's signals don't interrupt what was received
)
ASKED = {"names": list(protocol.CALLS), "action": NOTIFY}
"""The entry that has the agent asked. It comes first, and the first one without conditions counts."""
READY_SECONDS, SENTENCE_BYTES = 20, 500
"""How long it may take until an ordinary user's agent is there, and the longest sentence why not."""
ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
"""What calls can come by, by machine. The agent knows x32's calls for none of its own, and lets them go on."""


def offered() -> bool:
    """Say whether the kernel has all that is needed: 5.19, by its newest part.

    Without WAIT_KILLABLE_RECV a signal's handler could run while the agent writes into the caller's memory.
    """
    if os.uname().machine != protocol.MACHINE:
        return False
    try:
        sc.seccomp(SET_MODE_FILTER, NEW_LISTENER | SPEC_ALLOW | WAIT_KILLABLE_RECV, None)
    except OSError as error:
        return error.errno == errno.EFAULT  # the flags were looked at first, and found good
    raise AssertionError


def architectures() -> tuple[str, ...]:
    """Return OCI's names of what calls can come by on this machine."""
    return ARCHITECTURES.get(os.uname().machine, ())


def answered(base: Mapping[str, Any] | None, path: str) -> dict[str, Any]:
    """Return ``linux.seccomp`` that also has the daemon's agent asked; None as ``base`` forbids nothing.

    One that has an agent of its own stays as it is: there can be one listener. ``path`` is the socket.
    """
    found = dict(base or {"defaultAction": ALLOW, "architectures": list(architectures()), "syscalls": []})
    rows = found.get("syscalls") or []
    if any(row.get("action") == NOTIFY for row in rows):
        return found
    return {
        **found,
        "flags": list(dict.fromkeys((*(found.get("flags") or ()), *FLAGS))),
        "listenerPath": path,
        "syscalls": [ASKED, *rows],
    }


def answering(host: Host, *, root: bool) -> str:
    """Return the socket where the daemon's agent is asked, "" if it can't be: a daemon that serves users has one."""
    if not offered():
        return ""
    if root:
        return protocol.socket_path(host)
    path = protocol.users_socket_path(host)
    return path if os.path.exists(path) else ""


def unanswered(seccomp: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what is left without our agent's calls, None if that forbids nothing."""
    if not _is_answered(seccomp):
        return seccomp
    rows = seccomp["syscalls"][1:]
    return {**seccomp, "syscalls": rows} if rows or seccomp["defaultAction"] != ALLOW else None


def _is_answered(seccomp: Mapping[str, Any]) -> bool:
    rows, path = seccomp.get("syscalls") or [], seccomp.get("listenerPath") or ""
    return rows[:1] == [ASKED] and str(path).endswith((protocol.SOCKET, protocol.USERS_SOCKET))


def _reached(path: str) -> _socket.socket:
    """Return a connection to an agent that takes a listener; raises OSError with what it says if it doesn't."""
    found = connect(path)
    if path.endswith(protocol.USERS_SOCKET):
        try:
            found.settimeout(READY_SECONDS)
            said = found.recv(SENTENCE_BYTES)
            found.settimeout(None)
            if not said.startswith(protocol.READY):
                raise OSError(errno.ECONNREFUSED, said.decode("utf-8", "replace") or "the daemon closed", path)
        except BaseException:
            found.close()
            raise
    return found


class Filter(Record):
    """The filter of one container's processes, compiled as long as the host's tree is seen."""

    seccomp: Mapping[str, Any]
    id: str
    bundle: str
    whole: Compiled
    plain: Compiled | None
    """Without our agent's calls; None if nothing is left, which isn't loaded then."""
    must: bool = False
    """Whether it is an error if our agent doesn't answer; otherwise it is said on stderr."""

    @property
    def asks(self) -> bool:
        """Whether calls are to be answered by the agent at ``listenerPath``."""
        return self.whole.notify

    def describe(self) -> str:
        """Return what a person wants to know of it."""
        rows = self.seccomp.get("syscalls") or ()
        names = [name for row in rows if row["action"] == NOTIFY for name in row["names"]]
        how = f"filter {self.seccomp['defaultAction']}, {len(rows)} rules"
        return how + (f", {','.join(names)} answered by {self.seccomp['listenerPath']}" if names else "")

    def connect(self) -> _socket.socket | None:
        """Return a connection to the agent, None if there is none and need not be; raises OSError."""
        try:
            return _reached(self.seccomp["listenerPath"])
        except OSError as error:
            self._missed(error)
            return None

    def _missed(self, error: OSError) -> None:
        if self.must or not _is_answered(self.seccomp):
            raise error
        os.write(
            2, f"pyproc: sysinfo(2) and sched_getaffinity(2) tell the host's figures: {reason(error)}\n".encode()
        )

    def load(self, *, heard: bool = True) -> int:
        """Load it for the calling process and those it will make; return the listener, -1 for none.

        ``heard``: there is a connection to the agent it asks. Raises OSError.
        """
        if self.whole.notify and heard:
            try:
                return sc.seccomp(SET_MODE_FILTER, NEW_LISTENER | self.whole.flags, self.whole.program)
            except OSError as error:
                if error.errno != errno.EBUSY:  # a filter above us has a listener already, and there can be one
                    raise
                self._missed(error)
        if self.plain is not None:
            sc.seccomp(SET_MODE_FILTER, self.plain.flags, self.plain.program)
        return -1

    def loader(self, report: _socket.socket, *, heard: bool) -> Callable[[], None]:
        """Return what loads it and reports the listener (``runtime.report``)."""

        def load() -> None:
            listener = self.load(heard=heard)
            if listener >= 0:
                send(report, b"listener", listener)
                os.close(listener)

        return load

    def hand_over(self, agent: _socket.socket, listener: int, pid: int) -> None:
        """Send the listener: from here on the calls of ``pid`` are the agent's to answer; raises OSError.

        An agent that was killed since has a successor, at the same socket.
        """
        container = {
            "ociVersion": OCI_VERSION, "id": self.id, "status": "creating", "pid": pid, "bundle": self.bundle,
        }  # fmt: skip
        state = protocol.state(self.seccomp, container, pid, [protocol.LISTENER_NAME])
        try:
            send(agent, state, listener)
        except (BrokenPipeError, ConnectionResetError):
            agent.close()
            agent = _reached(self.seccomp["listenerPath"])
            try:
                send(agent, state, listener)
            except OSError as error:
                path = self.seccomp["listenerPath"]
                raise OSError(errno.ECONNABORTED, "no agent stays to take the listener", path) from error
        finally:
            agent.close()
            os.close(listener)


def of(spec: Mapping[str, Any], id_: str, bundle: str, *, must: bool = False, kept: str = "") -> Filter | None:
    """Return the filter of a configuration's ``linux.seccomp``, None where there is none.

    ``kept`` is the directory where compiled ones are kept. Raises an Error for what can't be compiled.
    """
    seccomp = spec["linux"].get("seccomp")
    if seccomp is None:
        return None
    rest = unanswered(seccomp)
    plain = (
        None if rest is None else cache.compiled(rest, kept)
    )  # first: its errors count entries as they were written
    whole = plain if rest is seccomp and plain else cache.compiled(seccomp, kept)
    if whole.notify and not seccomp.get("listenerPath"):
        raise RunError(f"linux.seccomp: {NOTIFY} without listenerPath: nobody would answer", "name an agent's socket")
    return Filter(seccomp, id_, bundle, whole, plain, must)

"""A container's namespaces: new ones, and others' that it joins; and how its first process comes to be in them.

New ones come with clone3(2). Joined ones take a process in between, which joins and then makes the first process as
its own sibling (CLONE_PARENT), so that it is the runtime's child either way.

    runtime ── clone ─ between: setns(each path) ── clone3(new ones, CLONE_PARENT) ─ first process
"""

from __future__ import annotations

import errno
import os
import time

from lxcfs_py.errors import reason
from lxcfs_py.record import Record
from runtime.errors import RunError
from runtime.kernel import syscalls as sc
from runtime.process import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout

FLAGS = {
    "user": sc.CLONE_NEWUSER, "mount": sc.CLONE_NEWNS, "cgroup": sc.CLONE_NEWCGROUP, "uts": sc.CLONE_NEWUTS,
    "ipc": sc.CLONE_NEWIPC, "pid": sc.CLONE_NEWPID, "network": sc.CLONE_NEWNET, "time": sc.CLONE_NEWTIME,
}  # fmt: skip
"""Of each kind OCI names (include/uapi/linux/sched.h)."""
FILES = {"mount": "mnt", "network": "net"}
"""Where the name in /proc/PID/ns is another."""
LATE = ("cgroup", "time")
"""Not by clone3: the first is made once the process is in its cgroups, the second before it, to set its clocks."""


class Plan(Record):
    """What to make and what to join."""

    new: int = 0
    """Flags for clone3."""
    kinds: frozenset[str] = frozenset()
    """All kinds that are not the host's."""
    fresh: frozenset[str] = frozenset()
    """Those that are made, not joined."""
    join: tuple[tuple[str, str], ...] = ()
    """Kind and path."""


def decide(linux: Mapping[str, Any]) -> Plan:
    """Return the plan of ``linux.namespaces``."""
    spaces = linux["namespaces"]
    join = tuple((each["type"], each["path"]) for each in spaces if each.get("path"))
    fresh = frozenset(each["type"] for each in spaces if not each.get("path"))
    new = sum(FLAGS[kind] for kind in fresh if kind not in LATE)
    return Plan(new, frozenset(each["type"] for each in spaces), fresh, join)


def foreign(pid: int, kinds: Mapping[str, int] = FLAGS) -> int:
    """Return the flags of those namespaces of a process that aren't ours; raises OSError if it has ended."""
    flags = 0
    for kind, flag in kinds.items():
        name = FILES.get(kind, kind)
        try:
            ours = os.stat(f"/proc/self/ns/{name}").st_ino
        except FileNotFoundError:
            continue
        flags |= flag if os.stat(f"/proc/{pid}/ns/{name}").st_ino != ours else 0
    return flags


def hidden(id_: str, error: PermissionError) -> RunError:
    """Return the Error for an ordinary user's container that waits to be started: it can't be looked into."""
    return RunError(f"container {id_!r}: {reason(error)}", "start it first, then try again")


def opened(plan: Plan) -> list[tuple[str, str, int]]:
    """Open what is joined; raises an Error naming the path."""
    found = []
    for kind, path in plan.join:
        try:
            found.append((kind, path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        except OSError as error:
            raise RunError(f"{kind} namespace {reason(error)}", "name one of a process that lives") from error
    return found


def join(namespaces: Sequence[tuple[str, str, int]]) -> None:
    """Enter them; those that are refused are tried again once another (the user namespace) has given the right."""
    left = list(namespaces)
    while left:
        refused = []
        for kind, path, descriptor in left:
            try:
                sc.setns(descriptor, FLAGS[kind])
            except OSError as error:
                if error.errno != errno.EPERM:
                    raise RunError(f"{kind} namespace {path}: {error.strerror}", "is it one of that kind?") from error
                refused.append((kind, path, descriptor))
        if len(refused) == len(left):
            raise RunError(f"{refused[0][0]} namespace {refused[0][1]}: not permitted", "join its user namespace too")
        left = refused


def birth(
    plan: Plan, layout: Layout, cgroup: str, proc: str, offsets: Mapping[str, Any] | None
) -> tuple[int, tuple[str, ...], int]:
    """Fork the first process.

    Return its pid, 0 in itself, the doors of cgroups it has to enter by itself, and its clock's offset (``Clocks``).
    """
    if "time" not in plan.fresh:
        return *_birth(plan, layout, cgroup), 0
    clocks, pid = Clocks(proc, offsets), -1
    clocks.enter()
    try:
        pid, doors = _birth(plan, layout, cgroup)
    finally:
        if pid:
            clocks.leave()
    return pid, doors, clocks.boottime_nsec


def _birth(plan: Plan, layout: Layout, cgroup: str) -> tuple[int, tuple[str, ...]]:
    if not plan.join:
        return cgroups.clone(plan.new, layout, cgroup)
    there = opened(plan)

    def between() -> int:
        join(there)
        return sc.clone(plan.new | sc.CLONE_PARENT)

    try:
        said, doors = relayed(0, layout, cgroup, between)
    finally:
        for _, _, descriptor in there:
            os.close(descriptor)
    return int(said), doors


def relayed(
    flags: int,
    layout: Layout,
    cgroup: str,
    act: Callable[[], int],
    meanwhile: Callable[[int], None] = lambda _pid: None,
    tell: Callable[[], str] = lambda: "",
    unit: str = "",
) -> tuple[str, tuple[str, ...]]:
    """Fork a process in between that does ``act``, which makes the first process as its sibling.

    Return the first process's pid and what ``tell`` says in the one between, "0" in the first process itself.
    ``meanwhile`` gets the pid of the one between. Raises the Error it failed with.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    between, doors = cgroups.clone(flags, layout, cgroup, unit)
    if between == 0:
        if _between(act, tell, writer) == 0:
            os.close(reader)
            os.close(writer)
            return "0", doors
        os._exit(0)
    os.close(writer)
    try:
        meanwhile(between)
    except BaseException:
        os.close(reader)
        os.kill(between, 9)
        os.waitpid(between, 0)
        raise
    with open(reader, "rb") as file:
        said = file.read().decode("utf-8", "surrogateescape")
    os.waitpid(between, 0)
    if not said[:1].isdigit():
        raise RunError(said or "the process that prepares namespaces died", "see the kernel's log")
    return said, doors


def _between(act: Callable[[], int], tell: Callable[[], str], writer: int) -> int:
    """Fork; return 0 in the first process, the pid in the one between. Leaves if it fails, and says why."""
    try:
        pid = act()
    except BaseException as error:  # noqa: BLE001  (it must never return into the parent's code)
        text = reason(error) if isinstance(error, OSError) else str(error)
        os.write(writer, text.encode("utf-8", "surrogateescape"))
        os._exit(1)
    if pid:
        os.write(writer, f"{pid} {tell()}".rstrip().encode())
    return pid


class Clocks:
    """A new time namespace for children, from ``enter`` to ``leave``.

    ``offsets`` are OCI's; None lets both clocks begin at 0, and ``boottime_nsec`` tells what was written then.
    """

    def __init__(self, proc: str, offsets: Mapping[str, Any] | None) -> None:
        self.proc, self.offsets = proc, offsets
        self.boottime_nsec = 0

    def enter(self) -> None:
        """Offsets can be written as long as nobody is inside (time_namespaces(7))."""
        sc.unshare(sc.CLONE_NEWTIME)
        if self.offsets is not None:
            rows = {clock: (row.get("secs", 0), row.get("nanosecs", 0)) for clock, row in self.offsets.items()}
            self._write(rows)
            seconds, nsec = rows.get("boottime", (0, 0))
            self.boottime_nsec = seconds * 1_000_000_000 + nsec
            return
        for clock in (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC):  # no clock may become negative
            offset = -time.clock_gettime_ns(clock)
            try:
                self._write(dict.fromkeys(("monotonic", "boottime"), divmod(offset, 1_000_000_000)))
            except OSError:
                continue
            self.boottime_nsec = offset
            break

    def _write(self, rows: Mapping[str, tuple[int, int]]) -> None:
        if rows:
            with open(f"{self.proc}/self/timens_offsets", "w", encoding="utf-8") as file:
                file.write("".join(f"{clock} {seconds} {nsec}\n" for clock, (seconds, nsec) in rows.items()))

    def leave(self) -> None:
        """Our further children, hooks among them, have the host's clocks."""
        ours = os.open(f"{self.proc}/self/ns/time", os.O_RDONLY | os.O_CLOEXEC)
        try:
            sc.setns(ours, sc.CLONE_NEWTIME)
        finally:
            os.close(ours)

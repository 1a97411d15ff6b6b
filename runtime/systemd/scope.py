"""A container's transient scope: named, started, changed and stopped (systemd.scope(5)).

A scope has a process from the beginning. That is one of ours, which sleeps: the container's first process is born
into the scope's cgroup as into any other, and then the sleeper goes. When either is killed before, the scope is
empty, and systemd forgets it.
"""

from __future__ import annotations

import os
import time

from lxcfs_py.errors import reason
from lxcfs_py.procfs import proc_cgroup
from lxcfs_py.record import Record
from runtime import units
from runtime.errors import RunError
from runtime.kernel import syscalls as sc
from runtime.report import connect
from runtime.systemd import properties as converted
from runtime.systemd.bus import NO_SUCH_UNIT, UNIT_EXISTS, Bus, RefusedError, UnreachableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


SLICE, USERS, PREFIX = "system.slice", "user.slice", "pyproc"
"""Where a container's scope is, and a user's, and what its name begins with, if that is left to us."""
WORD = units.WORD | frozenset(":-_.\\@")
"""What a unit's name may have (systemd.unit(5))."""
MAX_NAME = 255
SYSTEM_BUS = "/run/dbus/system_bus_socket"
SECONDS = 2.0
"""How long the unit of a container that has just ended may stay known."""


class Unit(Record):
    """A scope and the slice it is in."""

    slice: str
    name: str

    @property
    def path(self) -> str:
        """Its cgroup, below the manager's own: ``a-b.slice`` is in ``a.slice`` (systemd.slice(5))."""
        stem = self.slice.removesuffix(".slice")
        parts = [] if stem == "-" else stem.split("-")
        above = "".join(f"/{'-'.join(parts[: end + 1])}.slice" for end in range(len(parts)))
        return f"{above}/{self.name}"


def unit(asked: str, id_: str, usual: str = SLICE) -> Unit:
    """Return the unit of ``linux.cgroupsPath``, ``SLICE:PREFIX:NAME``; raises an Error for another text."""
    field = f"config.json: linux.cgroupsPath: {asked!r}"
    parts = asked.split(":") if asked else ["", PREFIX, id_]
    if len(parts) != 3 or not parts[2]:
        raise RunError(f"{field} is a path, and systemd takes units", "write slice:prefix:name, or use cgroupfs")
    found = Unit(parts[0] or usual, f"{parts[1]}-{parts[2]}.scope" if parts[1] else f"{parts[2]}.scope")
    stem = found.slice.removesuffix(".slice")
    words = stem.split("-") if stem != "-" else ["-"]
    if stem == found.slice or not all(words) or not WORD.issuperset(stem):
        raise RunError(f"{field}: {found.slice!r} is not a slice", "write it as system.slice or a-b.slice")
    if not WORD.issuperset(found.name) or len(found.name) > MAX_NAME:
        raise RunError(f"{field}: {found.name!r} can't be a unit", "use letters, digits and :-_.\\@")
    return found


def manager(proc: str = "/proc", pid: int = 1) -> str:
    """Return the cgroup that a systemd's units are below: not the topmost one where it runs in a container itself."""
    with open(f"{proc}/{pid}/cgroup", "rb") as file:
        return proc_cgroup.parse(file.read()).get("", "").rpartition("/init.scope")[0]


class OutsideError(UnreachableError):
    """A user's systemd serves, and can't take in what is not below it."""


def users(proc: str = "/proc", system_bus: str = SYSTEM_BUS) -> str:
    """Return the same of the user's own systemd; raises an Error where none serves that can take our processes.

    From without they are moved by the system's systemd, which it asks over the system's bus.
    """
    with Bus() as bus:
        pid, path = bus.peer(), bus.path
    found = manager(proc, pid) if pid else ""
    if not found:
        raise UnreachableError(f"{path}: no systemd that has a cgroup", "log in anew: was it restarted?")
    with open(f"{proc}/self/cgroup", "rb") as file:
        own = proc_cgroup.parse(file.read()).get("", "")
    if not f"{own}/".startswith(f"{found}/"):
        try:
            connect(system_bus).close()
        except OSError as error:
            hint = "have root start dbus, or have your systemd start it: systemd-run --user pyproc-run ..."
            why = f"your systemd can't take in what is started in {own}: no message bus: {reason(error)}"
            raise OutsideError(why, hint) from error
    return found


def _sleeper() -> int:
    """Fork a process that sleeps as long as we live, and return its pid."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            sc.prctl(sc.PR_SET_PDEATHSIG, 9)
            while os.getppid() == parent:
                time.sleep(3600)
        finally:
            os._exit(0)
    return pid


def start(unit_: Unit, id_: str, limits: Iterable[tuple[str, str]], annotations: Mapping[str, str]) -> int:
    """Start the scope and return the pid of the process that keeps it; raises an Error, and leaves nothing then."""
    given = converted.of_limits(limits)
    asked = converted.of_annotations(annotations)
    pid = _sleeper()
    properties: dict[str, tuple[str, object]] = {
        "Description": ("s", f"container {id_}"),
        "Slice": ("s", unit_.slice),
        "PIDs": ("au", [pid]),
        "Delegate": ("b", True),
        "DefaultDependencies": ("b", False),
        "CollectMode": ("s", "inactive-or-failed"),  # one that failed is forgotten like others
        "TasksMax": ("t", converted.INFINITY),  # else it would be systemd's default
        **dict(given),
        **dict(asked),
    }
    try:
        with Bus() as bus:
            _start(bus, unit_.name, list(properties.items()))
    except BaseException:
        release(pid)
        raise
    return pid


def _start(bus: Bus, name: str, properties: Sequence[tuple[str, tuple[str, object]]]) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            bus.job("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", properties, [])
            return
        except RefusedError as error:
            if error.name != UNIT_EXISTS or time.monotonic() > deadline:
                raise
        _forgive(bus, "ResetFailedUnit", "s", name)  # what failed under that name is in nobody's use
        time.sleep(0.01)


def release(pid: int) -> None:
    """End the process that kept a scope."""
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def attach(path: str, name: str, pid: int) -> None:
    """Have systemd move a process into a scope's cgroup, or one below it: it may where we may not."""
    with Bus() as bus:
        bus.call("AttachProcessesToUnit", "ssau", name, path.rpartition(f"/{name}")[2], [pid])


def change(name: str, limits: Iterable[tuple[str, str]]) -> None:
    """Change a scope's limits, until its end."""
    properties = converted.of_limits(limits)
    if properties:
        with Bus() as bus:
            bus.call("SetUnitProperties", "sba(sv)", name, True, properties)


def stop(name: str) -> None:
    """Stop a scope, whose processes have ended, and have it forgotten, however it ended; one that is gone is fine."""
    with Bus() as bus:
        try:
            bus.job("StopUnit", "ss", name, "replace")
        except RefusedError as error:
            if error.name != NO_SUCH_UNIT:
                raise
        _forgive(bus, "ResetFailedUnit", "s", name)


def _forgive(bus: Bus, member: str, signature: str, name: str) -> None:
    try:
        bus.call(member, signature, name)
    except RefusedError as error:
        if error.name != NO_SUCH_UNIT:
            raise

"""Makes, limits, fills, empties and removes a container's cgroups: the writing half, for the runtime.

A container has one path, such as ``/pyproc/ID``, in every v1 hierarchy but the named ones, and in cgroup2.
"""

from __future__ import annotations

import errno
import os
import time

from lxcfs_py.cgroup.layout import below
from lxcfs_py.cgroup.limits import Limits
from lxcfs_py.cgroup.parse import flat, numbers
from lxcfs_py.cgroup.setting import as_files, check, limit, needed, read, update, write
from lxcfs_py.errors import Error, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxcfs_py.cgroup.layout import Hierarchy, Layout
    from lxcfs_py.host import Host

__all__ = [
    "Limits",
    "absent",
    "as_files",
    "check",
    "create",
    "directories",
    "doors",
    "enter",
    "freeze",
    "frozen",
    "kill_all",
    "oom_kills",
    "prepare",
    "read",
    "remove",
    "thaw",
    "update",
]
OURS = "/pyproc"
"""The parent of cgroups whose place was left to us."""
V1_DOOR, V2_DOOR = "/tasks", "/cgroup.procs"
RACES = 20
"""How often a directory is made again when somebody removes its empty parent meanwhile."""


def hierarchies(layout: Layout) -> list[Hierarchy]:
    """Return each hierarchy once, without those that only have a name."""
    found = {h.mount: h for name, h in layout.hierarchies.items() if not name.startswith("name=")}
    return list(found.values())


def directories(layout: Layout, path: str) -> list[str]:
    """Return the cgroup's directories that exist."""
    return [d for d in (h.directory(path) for h in hierarchies(layout)) if os.path.isdir(d)]


def absent(layout: Layout, path: str) -> Layout:
    """Return the hierarchies that have no such cgroup: what is made there is the maker's to remove."""
    others = layout.hierarchies.items()
    return layout.replace(hierarchies={name: h for name, h in others if not os.path.isdir(h.directory(path))})


def _make(directory: str) -> None:
    for attempt in range(RACES):
        try:
            os.makedirs(directory, exist_ok=True)
            return
        except OSError as error:
            if error.errno != errno.ENOENT or attempt == RACES - 1:
                raise Error(f"can't make the cgroup {reason(error)}", "is cgroupfs mounted read-write?") from error


def _enable(hierarchy: Hierarchy, path: str, wanted: Iterable[str]) -> None:
    """Enable controllers for the children of every level above ``path`` (cgroup-v2.rst, "Enabling")."""
    parent = hierarchy.mount
    for part in path.strip("/").split("/"):
        there = read(f"{parent}/cgroup.subtree_control").decode().split()
        offered = read(f"{parent}/cgroup.controllers").decode().split()
        for controller in wanted:
            if controller in there:
                continue
            if controller not in offered:
                raise Error(
                    f"{parent}/cgroup.controllers has no {controller!r}", "leave out its limit, or enable it above"
                )
            try:
                write(f"{parent}/cgroup.subtree_control", f"+{controller}")
            except OSError as error:
                hint = "a cgroup with processes of its own can't have it: move them to a child"
                raise Error(f"{parent}/cgroup.subtree_control: +{controller}: {error.strerror}", hint) from error
        parent = f"{parent}/{part}"
        if parent != hierarchy.mount + path:
            _make(parent)


def _inherit_cpuset(mount: str, path: str) -> None:
    """Give each level of a v1 cpuset its parent's CPUs and nodes: empty ones take no task (cpusets.rst)."""
    parent = mount
    for part in path.strip("/").split("/"):
        child = f"{parent}/{part}"
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not read(f"{child}/{file}").strip():
                write(f"{child}/{file}", read(f"{parent}/{file}").decode().strip())
        parent = child


def prepare(host: Host, layout: Layout, path: str, limits: Limits) -> None:
    """Make the cgroup wherever it isn't there yet, and limit it; raises an Error naming file and value."""
    for hierarchy in hierarchies(layout):
        directory = hierarchy.directory(path)
        if hierarchy.version == 2:
            _enable(hierarchy, path, needed(layout, limits))
            _make(directory)
        else:
            _make(directory)
            if "cpuset" in hierarchy.controllers:
                _inherit_cpuset(hierarchy.mount, path)
    update(host, layout, path, limits)


def create(_host: Host, layout: Layout, path: str, limits: Limits) -> None:
    """Make the cgroup everywhere and limit it; raises an Error naming file and value, and leaves nothing new then."""
    ours = absent(layout, path)
    try:
        prepare(_host, layout, path, limits)
    except BaseException:
        remove(_host, ours, path)
        raise


def doors(layout: Layout, path: str) -> tuple[str, ...]:
    """Return the files by which a process moves itself in (``enter``).

    v1's is ``tasks``: a thread that moves itself takes no lock there. ``cgroup.procs`` takes one that waits for all
    CPUs, 6 ms (kernel/cgroup/cgroup.c, cgroup_procs_write_start).
    """
    return tuple(f"{h.directory(path)}{V1_DOOR if h.version == 1 else V2_DOOR}" for h in hierarchies(layout))


def enter(files: Iterable[str]) -> None:
    """Move the calling process, which has one thread, through doors; raises an Error naming the file."""
    for file in files:
        try:
            write(file, "0")
        except OSError as error:
            raise Error(f"can't move into {file}: {error.strerror}", "was the cgroup removed?") from error


def members(layout: Layout, path: str) -> set[int]:
    """Return the processes in the cgroup and all below it, of any hierarchy."""
    tops = directories(layout, path)
    return {pid for top in tops for d in below(top) for pid in numbers(read(f"{d}/cgroup.procs"))} - {0}


def _freezer(layout: Layout, path: str, v1: str, v2: str) -> None:
    hierarchy = layout.hierarchies.get("freezer") or layout.hierarchies[""]
    directory = hierarchy.directory(path)
    limit(*((f"{directory}/freezer.state", v1) if hierarchy.version == 1 else (f"{directory}/cgroup.freeze", v2)))


def freeze(layout: Layout, path: str) -> None:
    """Stop all its processes where they are."""
    _freezer(layout, path, "FROZEN", "1")


def thaw(layout: Layout, path: str) -> None:
    """Let them go on."""
    _freezer(layout, path, "THAWED", "0")


def frozen(layout: Layout, path: str) -> bool:
    """Say whether its processes are stopped, or being stopped."""
    hierarchy = layout.hierarchies.get("freezer") or layout.hierarchies.get("")
    if hierarchy is None:
        return False
    directory = hierarchy.directory(path)
    if hierarchy.version == 1:
        return read(f"{directory}/freezer.state").strip() in (b"FROZEN", b"FREEZING")
    return read(f"{directory}/cgroup.freeze").strip() == b"1"


def kill_all(_host: Host, layout: Layout, path: str, timeout: float = 10.0) -> bool:
    """Kill everything in it; say whether it is empty within ``timeout`` seconds."""
    deadline, pause = time.monotonic() + timeout, 0.001
    while there := members(layout, path):
        for top in directories(layout, path):
            if os.path.exists(f"{top}/cgroup.kill"):  # cgroup2 from 5.14 on: all at once, however fast they fork
                write(f"{top}/cgroup.kill", "1")
        try:
            thaw(layout, path)
        except (Error, KeyError):
            pass
        for pid in there:
            try:
                os.kill(pid, 9)
            except (ProcessLookupError, PermissionError):  # an AppArmor profile may let no signal in
                continue
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return True


def _removed(top: str) -> bool:
    """Remove a directory and all below it, as far as nothing lives there; say whether it is gone."""
    try:
        os.rmdir(top)  # the usual case: empty, and nothing below it
    except FileNotFoundError:
        return True
    except OSError:
        for directory in reversed(list(below(top))):
            try:
                os.rmdir(directory)
            except OSError:
                continue
        return not os.path.isdir(top)
    return True


def remove(_host: Host, layout: Layout, path: str, timeout: float = 5.0) -> None:
    """Remove it and all below it, and our own parent if that is empty then; what is not there is fine.

    Raises an Error if processes keep it busy for ``timeout`` seconds.
    """
    deadline, pause = time.monotonic() + timeout, 0.001
    for top in (hierarchy.directory(path) for hierarchy in hierarchies(layout)):
        while not _removed(top):
            if time.monotonic() >= deadline:
                raise Error(f"{top}: still busy", "end its processes first")
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        if os.path.dirname(path).endswith(OURS):  # a parent of somebody else's may have limits
            try:
                os.rmdir(os.path.dirname(top))
            except OSError:
                continue


def _event(layout: Layout, path: str, controller: str, files: tuple[str, str], key: str) -> int:
    hierarchy = layout.which(controller)
    if hierarchy is None:
        return 0
    return flat(read(f"{hierarchy.directory(path)}/{files[hierarchy.version - 1]}")).get(key, 0)


def oom_kills(layout: Layout, path: str) -> int:
    """Return how often the OOM killer struck in it."""
    return _event(layout, path, "memory", ("memory.oom_control", "memory.events"), "oom_kill")


def pids_max_hits(layout: Layout, path: str) -> int:
    """Return how often a fork failed because of its pids limit."""
    return _event(layout, path, "pids", ("pids.events", "pids.events"), "max")


def device_list(layout: Layout, path: str) -> str:
    """Return what v1's device cgroup allows, as the kernel words it (devices.rst)."""
    return read(f"{layout.hierarchies['devices'].directory(path)}/devices.list").decode()


def judge_devices(layout: Layout, path: str, writes: Iterable[tuple[str, str]]) -> None:
    """Write v1's device rules; v2 has no such files (its rules are a BPF program)."""
    for file, rule in writes:
        limit(f"{layout.hierarchies['devices'].directory(path)}/{file}", rule)

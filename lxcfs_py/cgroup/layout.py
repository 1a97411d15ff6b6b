"""Which hierarchies this host has, and which of them answers for a controller (cgroups(7), proc(5)).

A unified host has cgroup2 alone, a legacy one v1 hierarchies alone, a hybrid one both: a controller belongs to
the v1 hierarchy it is bound to, else to cgroup2 if that lists it.
"""

from __future__ import annotations

import os

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxcfs_py.files import Files
    from lxcfs_py.host import Host

UNIFIED = ""
"""The key of cgroup2, as /proc/PID/cgroup leaves its controllers empty."""
MOUNTED_AT = "/sys/fs/cgroup"
ALWAYS = ("cpu_time", "pids")
"""What every cgroup2 has without a controller: cpu.stat's times, cgroup.procs."""


class Hierarchy(Record):
    """One mounted hierarchy; ``mount`` shows the cgroup ``root`` of it."""

    version: int
    mount: str
    root: str = "/"
    controllers: tuple[str, ...] = ()

    def directory(self, path: str) -> str:
        """Return the directory of a cgroup; one outside of what is mounted is its nearest: the mount itself."""
        if self.root != "/":
            inside = path == self.root or path.startswith(self.root + "/")
            path = path[len(self.root) :] if inside else "/"
        if path == "/" or path.startswith("/.."):
            return self.mount
        return self.mount + path


class Layout(Record):
    """The hierarchies by controller; cgroup2 under ``UNIFIED``, named ones under ``name=...``."""

    hierarchies: Mapping[str, Hierarchy]

    def which(self, controller: str) -> Hierarchy | None:
        """Return the hierarchy that answers for a controller, None if none does."""
        found = self.hierarchies.get(controller)
        if found is None:
            unified = self.hierarchies.get(UNIFIED)
            if unified is not None and (controller in unified.controllers or controller in ALWAYS):
                return unified
        return found

    def key(self, controller: str) -> str:
        """Return under which name /proc/PID/cgroup lists the paths that count for a controller."""
        return controller if controller in self.hierarchies else UNIFIED


def detect(host: Host, files: Files) -> Layout:
    """Return the host's layout; raises OSError if mountinfo can't be read."""
    from lxcfs_py.procfs import mountinfo

    found: dict[str, Hierarchy] = {}
    for entry in mountinfo.parse(files.read(f"{host.proc}/self/mountinfo")):
        if entry.fstype not in ("cgroup", "cgroup2"):
            continue
        mount = _mapped(entry.mount_point, host.cgroup)
        if entry.fstype == "cgroup2":
            _keep(found, UNIFIED, Hierarchy(2, mount, entry.root, _controllers(mount, files)))
        else:
            names = tuple(name for name in entry.super_options.split(",") if _is_controller(name))
            for name in names:
                _keep(found, name, Hierarchy(1, mount, entry.root, names))
    return Layout(found)


def _keep(found: dict[str, Hierarchy], name: str, new: Hierarchy) -> None:
    """Of several mounts of one hierarchy (containers' views of it among them) the widest, first one counts."""
    if name not in found or len(new.root) < len(found[name].root):
        found[name] = new


def _is_controller(option: str) -> bool:
    return option in V1_CONTROLLERS or option.startswith("name=")


V1_CONTROLLERS = (
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb", "net_cls",
    "net_prio", "perf_event", "rdma", "misc",
)  # fmt: skip


def _mapped(mount_point: str, cgroup: str) -> str:
    if mount_point == MOUNTED_AT or mount_point.startswith(MOUNTED_AT + "/"):
        return cgroup + mount_point[len(MOUNTED_AT) :]
    return mount_point


def _controllers(mount: str, files: Files) -> tuple[str, ...]:
    try:
        return tuple(files.read(f"{mount}/cgroup.controllers").decode("ascii", "replace").split())
    except OSError:
        return ()


def below(directory: str) -> Iterator[str]:
    """Yield a cgroup's directory and all below it; those that vanish meanwhile are left out."""
    yield directory
    try:
        if os.stat(directory).st_nlink == 2:  # kernfs counts directories: none are below
            return
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in names:
        yield from below(f"{directory}/{name}")

"""Whose numbers to serve: a registered container, or the one a caller is in."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.errors import Error
from lxcfs_py.procfs import pid_stat, proc_cgroup, status, timens_offsets
from lxcfs_py.record import Record
from lxcfs_py.registry import Registration, load

if TYPE_CHECKING:
    from lxcfs_py.files import Files
    from lxcfs_py.host import Host

TICK_NSEC = 10_000_000
"""A tick of /proc/PID/stat's start time in nanoseconds (USER_HZ is 100)."""
NS_GET_TGID_FROM_PIDNS = 0x8004B707
"""ioctl_nsfs(2), kernel 6.11: our number for a process of another pid namespace."""

INIT_SCOPE = "/init.scope"
"""Where systemd as a container's init puts itself: the container is the cgroup above."""


class Container(Record):
    """One container, or a cgroup seen as one (``init_pid`` 0: there is no first process to count time from)."""

    key: str
    """The same for the same container as long as it lives, and never another's."""
    cgroup: Cgroup
    init_pid: int = 0
    init_start_ticks: int = 0
    boottime_offset_nsec: int = 0

    @property
    def start_nsec(self) -> int:
        """CLOCK_BOOTTIME when it started; with a time namespace, the moment its own clock was 0."""
        return -self.boottime_offset_nsec if self.boottime_offset_nsec else self.init_start_ticks * TICK_NSEC


def by_registration(host: Host, files: Files, id_: str) -> Container:
    """Return a registered container; raises an Error if it is not registered or its init has ended."""
    return of(host, files, load(host, id_))


def of(host: Host, files: Files, registration: Registration) -> Container:
    """Return the container of a registration; raises an Error if that very init has ended."""
    if start_ticks(host, files, registration.init_pid) != registration.init_start_ticks:
        raise Error(f"container {registration.id!r} has ended", "its registration is out of date")
    return Container(
        f"{registration.id}@{registration.init_start_ticks}",
        Cgroup(registration.cgroups),
        registration.init_pid,
        registration.init_start_ticks,
        registration.boottime_offset_nsec,
    )


def start_ticks(host: Host, files: Files, pid: int) -> int | None:
    """Return a process's start time, None if it has ended."""
    try:
        found = pid_stat.parse(files.read(f"{host.proc}/{pid}/stat"))
    except OSError:
        return None
    return None if found is None or found.state in "XZx" else found.start_ticks


def by_cgroup(path: str, controllers: tuple[str, ...]) -> Container:
    """Return a cgroup, of the same path in every hierarchy, as a container."""
    return Container(f"cgroup:{path}", Cgroup(dict.fromkeys(controllers, path)))


class Callers:
    """Finds the container of a calling process; remembers each pid namespace's init."""

    def __init__(self, host: Host, files: Files, limit: int = 1024) -> None:
        self._host, self._files, self._limit = host, files, limit
        self._inits: dict[str, tuple[int, int]] = {}
        self._own = _link(f"{host.proc}/self/ns/pid")

    def container(self, pid: int) -> Container | None:
        """Return the caller's container; None if it is the host's, has ended or can't be resolved."""
        namespace = _link(f"{self._host.proc}/{pid}/ns/pid")
        if not namespace:
            return None
        if namespace == self._own:
            return self._same_namespace(pid)
        init, ticks = self._inits.get(namespace, (0, 0))
        if not init or start_ticks(self._host, self._files, init) != ticks:
            self._inits.pop(namespace, None)
            init = self._init(pid, namespace)
            found = start_ticks(self._host, self._files, init) if init else None
            if found is None:
                return None
            ticks = found
            while len(self._inits) >= self._limit:
                self._inits.pop(next(iter(self._inits)))
            self._inits[namespace] = init, ticks
        paths = self._paths(init)
        if paths is None:
            return None
        try:
            offset = timens_offsets.boottime_nsec(self._files.read(f"{self._host.proc}/{init}/timens_offsets"))
        except OSError:
            offset = 0
        paths = {name: path.removesuffix(INIT_SCOPE) or "/" for name, path in paths.items()}
        return Container(f"{namespace}:{init}@{ticks}", Cgroup(paths), init, ticks, offset)

    def _same_namespace(self, pid: int) -> Container | None:
        """Judge a process of the host's pid namespace by its own cgroup; the root cgroup is the host itself."""
        paths = self._paths(pid)
        if paths is None or all(path == "/" for name, path in paths.items() if not name.startswith("name=")):
            return None
        return Container("cgroups:" + ",".join(f"{n}={p}" for n, p in sorted(paths.items())), Cgroup(paths))

    def _paths(self, pid: int) -> dict[str, str] | None:
        try:
            with open(f"{self._host.proc}/{pid}/cgroup", "rb") as file:  # seldom the same pid twice: not kept open
                return proc_cgroup.parse(file.read())
        except OSError:
            return None

    def _init(self, pid: int, namespace: str) -> int:
        try:
            descriptor = os.open(f"{self._host.proc}/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return fcntl.ioctl(descriptor, NS_GET_TGID_FROM_PIDNS, 1)
        except OSError:  # before 6.11
            return self._search(namespace)
        finally:
            os.close(descriptor)

    def _search(self, namespace: str) -> int:
        """Return the process that is 1 in a pid namespace."""
        for name in os.listdir(self._host.proc):
            if name.isdigit() and _link(f"{self._host.proc}/{name}/ns/pid") == namespace:
                try:
                    with open(f"{self._host.proc}/{name}/status", "rb") as file:
                        numbers = status.pids(file.read())
                except OSError:
                    continue
                if numbers[-1:] == (1,):
                    return int(name)
        return 0


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""

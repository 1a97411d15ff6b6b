"""What every view reads through: the host's files, the cgroups, the clock and the CPU accounts."""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING

from lxcfs_py.cgroup import Cgroups
from lxcfs_py.cgroup.api import CpuTime
from lxcfs_py.cputime import Account, CpuStore, LocalStore
from lxcfs_py.files import Files
from lxcfs_py.loads import LoadStore, NoLoads
from lxcfs_py.procfs import cpulist
from lxcfs_py.rule import Rule

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.host import Host

COUNT = Rule(
    "N: the least of the CPUs in the effective cpuset and quota / period rounded up; at least 1",
    v2=("cpuset.cpus.effective", "cpu.max"),
    v1=("cpuset.effective_cpus", "cpuset.cpus", "cpu.cfs_quota_us", "cpu.cfs_period_us"),
    host=("sys/devices/system/cpu/online",),
    least=True,
)
"""How many CPUs a container sees: ``Reader.cpus``."""


class Reader:
    """One process's view of a host."""

    def __init__(
        self,
        host: Host,
        files: Files | None = None,
        store: CpuStore | None = None,
        loads: LoadStore | None = None,
    ) -> None:
        self.host = host
        self.files = files or Files()
        self.cgroups = Cgroups(host, self.files)
        self.store = store or LocalStore()
        self.loads = loads or NoLoads()
        self._recent: dict[str, tuple[float, bytes]] = {}

    def now_nsec(self) -> int:
        """Return CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def host_path(self, path: str) -> str:
        """Return where the host's own file is, ``proc/...`` or ``sys/...``."""
        top, _, rest = path.partition("/")
        return f"{self.host.proc if top == 'proc' else self.host.sys}/{rest}"

    def host_bytes(self, path: str) -> bytes:
        """Return the host's own file, ``proc/...`` or ``sys/...``; raises OSError."""
        return self.files.read(self.host_path(path))

    def host_one(self, path: str) -> bytes:
        """Return the host's own file, one of those that ``Files.read_one`` reads; raises OSError."""
        return self.files.read_one(self.host_path(path))

    def recent(self, path: str, age_seconds: float) -> bytes:
        """Return the host's own file as it was ``age_seconds`` ago at most; raises OSError.

        For what costs the kernel long and whose change nobody can miss for so short a time.
        """
        now = time.monotonic()
        made, data = self._recent.get(path, (-age_seconds, b""))
        if now - made >= age_seconds:
            data = self.host_bytes(path)
            self._recent[path] = now, data
        return data

    def cpus(self, container: Container) -> tuple[int, ...]:
        """Return the host's CPUs the container sees, in order: as many as cpuset and quota leave, at least one."""
        allowed = self.cgroups.cpuset(container.cgroup)  # the kernel leaves out what is offline
        if not allowed:
            allowed = cpulist.parse(self.host_one("sys/devices/system/cpu/online")) or frozenset({0})
        return first(allowed, visible(len(allowed), self.cgroups.cpu_quota(container.cgroup)))

    def account(self, container: Container, n: int) -> Account:
        """Return the container's CPU account as of now."""
        used = self.cgroups.cpu_time(container.cgroup) or CpuTime(0, 0, 0)
        return self.store.advance(container.key, container.start_nsec, self.now_nsec(), used, n)


@functools.lru_cache(256)
def first(cpus: frozenset[int], count: int) -> tuple[int, ...]:
    """Return the lowest ``count`` of them, in order."""
    return tuple(sorted(cpus)[:count])


def visible(allowed: int, quota: float | None) -> int:
    """Return how many of the allowed CPUs are seen: a quota of 1.5 needs 2."""
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota - 1e-9)))

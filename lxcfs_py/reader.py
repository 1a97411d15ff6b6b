"""What every view reads through: the host's files, the cgroups, the clock and the CPU accounts."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from lxcfs_py.cgroup import Cgroups
from lxcfs_py.cgroup.api import CpuTime
from lxcfs_py.cputime import Account, CpuStore, LocalStore
from lxcfs_py.files import Files
from lxcfs_py.procfs import cpulist

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.host import Host


class Reader:
    """One process's view of a host."""

    def __init__(self, host: Host, files: Files | None = None, store: CpuStore | None = None) -> None:
        self.host = host
        self.files = files or Files()
        self.cgroups = Cgroups(host, self.files)
        self.store = store or LocalStore()

    def now_nsec(self) -> int:
        """Return CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def host_bytes(self, path: str) -> bytes:
        """Return the host's own file, ``proc/...`` or ``sys/...``; raises OSError."""
        top, _, rest = path.partition("/")
        return self.files.read(f"{self.host.proc if top == 'proc' else self.host.sys}/{rest}")

    def online(self) -> frozenset[int]:
        """Return the host's CPUs."""
        return cpulist.parse(self.host_bytes("sys/devices/system/cpu/online")) or frozenset({0})

    def cpus(self, container: Container) -> tuple[int, ...]:
        """Return the host's CPUs the container sees, in order: as many as cpuset and quota leave, at least one."""
        online = self.online()
        allowed = sorted((self.cgroups.cpuset(container.cgroup) or online) & online) or [min(online)]
        return tuple(allowed[: visible(len(allowed), self.cgroups.cpu_quota(container.cgroup))])

    def account(self, container: Container, n: int) -> Account:
        """Return the container's CPU account as of now."""
        used = self.cgroups.cpu_time(container.cgroup) or CpuTime(0, 0, 0)
        return self.store.advance(container.key, container.start_nsec, self.now_nsec(), used, n)


def visible(allowed: int, quota: float | None) -> int:
    """Return how many of the allowed CPUs are seen: a quota of 1.5 needs 2."""
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota - 1e-9)))

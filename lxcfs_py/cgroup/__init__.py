"""Reads a container's cgroups, whatever versions its host has: one driver per controller."""

from __future__ import annotations

from lxcfs_py.cgroup import layout as layouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.cgroup.api import Cgroup, CpuTime, DeviceUse, Driver, HugePages, MemoryLevel
    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.files import Files
    from lxcfs_py.host import Host


TASKS = ("pids", "memory", "cpu")
"""Which controllers' hierarchies are asked for a container's tasks, the first that there is."""


class Cgroups:
    """The reading half for a host. Nothing here raises; what is not known is None, empty or 0."""

    def __init__(self, host: Host, files: Files, layout: Layout | None = None) -> None:
        self.layout = layout or layouts.detect(host, files)
        self._files = files
        self._drivers: dict[str, tuple[Driver, str] | None] = {}

    def _driver(self, controller: str, cgroup: Cgroup) -> tuple[Driver, str] | None:
        """Return who answers for a controller, and the cgroup's path there."""
        if controller not in self._drivers:
            hierarchy = self.layout.which(controller)
            driver: Driver | None = None
            if hierarchy is not None:
                from lxcfs_py.cgroup.v1 import V1  # here: the runtime imports this package for its writing half
                from lxcfs_py.cgroup.v2 import V2

                driver = (V1 if hierarchy.version == 1 else V2)(self._files, hierarchy)
            self._drivers[controller] = (driver, self.layout.key(controller)) if driver else None
        found = self._drivers[controller]
        if found is None or found[1] not in cgroup.paths:
            return None
        return found[0], cgroup.paths[found[1]]

    def unified(self, cgroup: Cgroup) -> str | None:
        """Return the directory of a cgroup in cgroup2; None without cgroup2, or if it is in none but the top one."""
        hierarchy, path = self.layout.hierarchies.get(layouts.UNIFIED), cgroup.paths.get(layouts.UNIFIED, "/")
        directory = hierarchy.directory(path) if hierarchy else None
        return None if hierarchy is None or directory == hierarchy.mount else directory

    def memory(self, cgroup: Cgroup, *, swap: bool = True) -> tuple[MemoryLevel, ...]:
        """See ``Driver.memory``."""
        found = self._driver("memory", cgroup)
        return found[0].memory(found[1], swap=swap) if found else ()

    def numa_stat(self, cgroup: Cgroup) -> Mapping[int, Mapping[str, int]]:
        """See ``Driver.numa_stat``."""
        found = self._driver("memory", cgroup)
        return found[0].numa_stat(found[1]) if found else {}

    def cpu_quota(self, cgroup: Cgroup) -> float | None:
        """Return the smallest CPU quota over the levels, in CPUs."""
        found = self._driver("cpu", cgroup)
        return found[0].cpu_quota(found[1]) if found else None

    def cpuset(self, cgroup: Cgroup) -> frozenset[int] | None:
        """Return the effective CPUs."""
        found = self._driver("cpuset", cgroup)
        return found[0].cpuset(found[1]) if found else None

    def cpu_time(self, cgroup: Cgroup) -> CpuTime | None:
        """Return the CPU time used by the cgroup and all below it."""
        found = self._driver("cpuacct", cgroup) or self._driver("cpu_time", cgroup)
        return found[0].cpu_time(found[1]) if found else None

    def hugetlb(self, cgroup: Cgroup) -> tuple[HugePages, ...]:
        """Return the huge page sizes that are accounted for."""
        found = self._driver("hugetlb", cgroup)
        return found[0].hugetlb(found[1]) if found else ()

    def pids(self, cgroup: Cgroup) -> tuple[int, ...]:
        """Return the processes in the cgroup and all below it."""
        found = next(filter(None, (self._driver(c, cgroup) for c in TASKS)), None)
        return found[0].pids(found[1]) if found else ()

    def tasks(self, cgroup: Cgroup) -> int:
        """Return how many tasks, threads included, are in the cgroup and all below it."""
        known = self.task_count(cgroup)
        return len(self.threads(cgroup)) if known is None else known

    def oom_kills(self, cgroup: Cgroup) -> int:
        """Return how often the OOM killer struck."""
        found = self._driver("memory", cgroup)
        return found[0].oom_kills(found[1]) if found else 0

    def devices(self, cgroup: Cgroup) -> tuple[DeviceUse, ...]:
        """Return the block devices that were used."""
        found = self._driver("blkio", cgroup) or self._driver("io", cgroup)
        return found[0].devices(found[1]) if found else ()

    def slabinfo(self, cgroup: Cgroup) -> bytes:
        """Return the cgroup's own slabinfo, empty where there is none."""
        found = self._driver("memory", cgroup)
        return found[0].slabinfo(found[1]) if found else b""

    def task_count(self, cgroup: Cgroup) -> int | None:
        """Return the number of threads as of now."""
        found = self._driver("pids", cgroup)
        return found[0].task_count(found[1]) if found else None

    def threads(self, cgroup: Cgroup) -> tuple[int, ...]:
        """Return the threads in the cgroup and all below it."""
        found = next(filter(None, (self._driver(c, cgroup) for c in TASKS)), None)
        return found[0].threads(found[1]) if found else ()

    def activity(self, cgroup: Cgroup) -> bytes | None:
        """Return a text that changes when a task runs; None once the cgroup has gone, or where nothing tells."""
        found = self._driver("cpuacct", cgroup) or self._driver("cpu_time", cgroup)
        return found[0].activity(found[1]) if found else None

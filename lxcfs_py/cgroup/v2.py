"""Reads cgroup2 (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from lxcfs_py.cgroup.api import CpuTime, DeviceUse, HugePages, MemoryLevel
from lxcfs_py.cgroup.base import Base
from lxcfs_py.cgroup.parse import by_node, devices, flat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class V2(Base):
    """The reading half for cgroup2; see ``api.Driver``."""

    version = 2

    def memory(self, path: str) -> tuple[MemoryLevel, ...]:
        """Return the leaf, if it has the controller, and the levels that limit something."""
        found: list[MemoryLevel] = []
        for directory in self._places(path)[1]:
            maximum = self._limit(directory, "memory.max")
            swap = self._limit(directory, "memory.swap.max")
            if found and maximum is swap is None:
                continue
            usage = self._integer(directory, "memory.current")
            if usage is None:
                continue
            found.append(
                MemoryLevel(
                    path=directory,
                    limit_bytes=maximum,
                    usage_bytes=usage,
                    swap_limit_bytes=swap,
                    memsw_limit_bytes=None,
                    swap_usage_bytes=self._integer(directory, "memory.swap.current") or 0,
                    stat=flat(self._text(directory, "memory.stat")),
                )
            )
        return tuple(found)

    def numa_stat(self, path: str) -> Mapping[int, Mapping[str, int]]:
        """Return memory.numa_stat of the nearest level that has it (Linux 5.11)."""
        texts = (self._text(directory, "memory.numa_stat") for directory in self._places(path)[1])
        return by_node(next((text for text in texts if text is not None), None))

    def cpu_quota(self, path: str) -> float | None:
        """Return the smallest of cpu.max's quota/period, in CPUs."""
        found = []
        for directory in self._places(path)[1]:
            words = (self._text(directory, "cpu.max") or b"").split()
            if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
                found.append(int(words[0]) / int(words[1]))
        return min(found, default=None)

    def cpuset(self, path: str) -> frozenset[int] | None:
        """Return cpuset.cpus.effective of the nearest level that has it."""
        from lxcfs_py.procfs import cpulist

        for directory in self._places(path)[1]:
            data = self._text(directory, "cpuset.cpus.effective")
            if data is not None and (found := cpulist.parse(data)):
                return found
        return None

    def cpu_time(self, path: str) -> CpuTime | None:
        """Return cpu.stat's times, which every cgroup has without any controller."""
        stat = flat(self._text(self._places(path)[0], "cpu.stat"))
        if "usage_usec" not in stat:
            return None
        return CpuTime(
            stat["usage_usec"], stat.get("user_usec", 0), stat.get("system_usec", 0), stat.get("nice_usec", 0)
        )

    def hugetlb(self, path: str) -> tuple[HugePages, ...]:
        """Return hugetlb.SIZE.max and .current, minima over the levels."""
        return self._hugetlb(path, "max", "current")

    def oom_kills(self, path: str) -> int:
        """Return memory.events' oom_kill, which counts the levels below too."""
        return flat(self._text(self._places(path)[0], "memory.events")).get("oom_kill", 0)

    def devices(self, path: str) -> tuple[DeviceUse, ...]:
        """Return io.stat."""
        keys = ("rios", "rbytes", "wios", "wbytes", "dios", "dbytes")
        found = devices(self._text(self._places(path)[0], "io.stat"))
        return tuple(DeviceUse(device, *(use.get(key, 0) for key in keys)) for device, use in found.items())

    def threads(self, path: str) -> tuple[int, ...]:
        """Return cgroup.threads of the cgroup and all below it."""
        return self._threads(path, "cgroup.threads")

    def activity(self, path: str) -> bytes | None:
        """Return usage_usec, the first line of cpu.stat."""
        data = self._text(self._places(path)[0], "cpu.stat")
        return data and data.partition(b"\n")[0]

"""Reads cgroup2 (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

from lxcfs_py.cgroup.amounts import Amounts
from lxcfs_py.cgroup.api import CpuTime, DeviceUse, HugePages, MemoryLevel
from lxcfs_py.cgroup.base import Base
from lxcfs_py.cgroup.parse import by_node, devices, flat
from lxcfs_py.procfs import cpulist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.cgroup.layout import Hierarchy
    from lxcfs_py.files import Files

MEMORY = ("memory.max", "memory.swap.max", "memory.current", "memory.swap.current", "memory.stat")
TIMES = ("usage_usec", "user_usec", "system_usec", "nice_usec")


class V2(Base):
    """The reading half for cgroup2; see ``api.Driver``."""

    version = 2

    def __init__(self, files: Files, hierarchy: Hierarchy) -> None:
        super().__init__(files, hierarchy)
        self._amounts, self._times = Amounts(), Amounts(dict(zip(TIMES, TIMES, strict=True)))

    def memory(self, path: str, *, swap: bool = True) -> tuple[MemoryLevel, ...]:
        """Return the leaf, if it has the controller, and the levels that limit something."""
        found: list[MemoryLevel] = []
        for most, most_swap, use, use_swap, amounts in self._levels(path, *MEMORY):
            maximum = self._limit(most)
            swapped = self._limit(most_swap) if swap else None
            if found and maximum is swapped is None:
                continue
            usage = self._integer(use)
            if usage is None:
                continue
            in_swap = (self._integer(use_swap) or 0) if swap else 0
            found.append(MemoryLevel(maximum, usage, swapped, None, in_swap, self._amounts(self._text(amounts))))
        return tuple(found)

    def numa_stat(self, path: str) -> Mapping[int, Mapping[str, int]]:
        """Return memory.numa_stat of the nearest level that has it (Linux 5.11)."""
        texts = (self._text(file) for (file,) in self._levels(path, "memory.numa_stat"))
        return by_node(next((text for text in texts if text is not None), None))

    def cpu_quota(self, path: str) -> float | None:
        """Return the smallest of cpu.max's quota/period, in CPUs."""
        found = []
        for (file,) in self._levels(path, "cpu.max"):
            words = (self._text(file) or b"").split()
            if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
                found.append(int(words[0]) / int(words[1]))
        return min(found, default=None)

    def cpuset(self, path: str) -> frozenset[int] | None:
        """Return cpuset.cpus.effective of the nearest level that has it."""
        for (file,) in self._levels(path, "cpuset.cpus.effective"):
            data = self._text(file)
            if data is not None and (found := cpulist.parse(data)):
                return found
        return None

    def cpu_time(self, path: str) -> CpuTime | None:
        """Return cpu.stat's times, which every cgroup has without any controller."""
        stat = self._times(self._text(self._at(path, "cpu.stat")))
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
        return flat(self._text(self._at(path, "memory.events"))).get("oom_kill", 0)

    def devices(self, path: str) -> tuple[DeviceUse, ...]:
        """Return io.stat."""
        keys = ("rios", "rbytes", "wios", "wbytes", "dios", "dbytes")
        found = devices(self._text(self._at(path, "io.stat")))
        return tuple(DeviceUse(device, *(use.get(key, 0) for key in keys)) for device, use in found.items())

    def threads(self, path: str) -> tuple[int, ...]:
        """Return cgroup.threads of the cgroup and all below it."""
        return self._threads(path, "cgroup.threads")

    def activity(self, path: str) -> bytes | None:
        """Return usage_usec, the first line of cpu.stat."""
        data = self._text(self._at(path, "cpu.stat"))
        return data and data.partition(b"\n")[0]

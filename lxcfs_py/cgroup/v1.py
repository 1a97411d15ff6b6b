"""Reads v1 hierarchies (Documentation/admin-guide/cgroup-v1/); each object is one hierarchy."""

from __future__ import annotations

from lxcfs_py.cgroup.amounts import Amounts
from lxcfs_py.cgroup.api import CpuTime, DeviceUse, HugePages, MemoryLevel
from lxcfs_py.cgroup.base import Base
from lxcfs_py.cgroup.layout import below
from lxcfs_py.cgroup.parse import devices, flat
from lxcfs_py.procfs import cpulist

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.layout import Hierarchy
    from lxcfs_py.files import Files

TICK_USEC = 1_000_000 // 100
"""The tick of cpuacct.stat, as userspace is always told (include/asm-generic/param.h: USER_HZ)."""

V2_NAMES = {
    "anon": "total_rss", "file": "total_cache", "shmem": "total_shmem", "file_mapped": "total_mapped_file",
    "file_dirty": "total_dirty", "file_writeback": "total_writeback", "anon_thp": "total_rss_huge",
    "inactive_anon": "total_inactive_anon", "active_anon": "total_active_anon",
    "inactive_file": "total_inactive_file", "active_file": "total_active_file",
    "unevictable": "total_unevictable", "swapcached": "total_swapcached",
    "pgfault": "total_pgfault", "pgmajfault": "total_pgmajfault",
}  # fmt: skip
"""memory.stat's keys of v2 and what v1 calls them, the cgroups below included (memory.rst, 5.2)."""
MEMORY = (
    "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.usage_in_bytes", "memory.stat",
    "memory.memsw.usage_in_bytes",
)  # fmt: skip


class V1(Base):
    """The reading half for one v1 hierarchy; see ``api.Driver``."""

    version = 1

    def __init__(self, files: Files, hierarchy: Hierarchy) -> None:
        super().__init__(files, hierarchy)
        self._amounts = Amounts({**{old: name for name, old in V2_NAMES.items()}, "total_swap": "swap"})

    def memory(self, path: str, *, swap: bool = True) -> tuple[MemoryLevel, ...]:
        """Return the leaf and the levels that limit something; swap used is what memsw counts beyond memory."""
        found: list[MemoryLevel] = []
        for most, with_swap, use, amounts, use_with_swap in self._levels(path, *MEMORY):
            maximum = self._limit(most)
            both = self._limit(with_swap) if swap else None
            if found and maximum is both is None:
                continue
            usage = self._integer(use)
            if usage is None:
                continue
            stat = self._amounts(self._text(amounts))
            swapped = stat.pop("swap", None)
            if swapped is None:
                swapped = max(0, (self._integer(use_with_swap) or 0) - usage) if swap else 0
            found.append(MemoryLevel(maximum, usage, None, both, swapped, stat))
        return tuple(found)

    def cpu_quota(self, path: str) -> float | None:
        """Return the smallest cpu.cfs_quota_us/cpu.cfs_period_us, in CPUs."""
        found = []
        for quotas, periods in self._levels(path, "cpu.cfs_quota_us", "cpu.cfs_period_us"):
            quota = self._integer(quotas)
            period = self._integer(periods) if quota else None
            if quota and period:
                found.append(quota / period)
        return min(found, default=None)

    def cpuset(self, path: str) -> frozenset[int] | None:
        """Return cpuset.effective_cpus (cpuset.cpus before 3.17) of the nearest level that has any."""
        for files in self._levels(path, "cpuset.effective_cpus", "cpuset.cpus"):
            for file in files:
                data = self._text(file)
                if data is not None and (found := cpulist.parse(data)):
                    return found
        return None

    def cpu_time(self, path: str) -> CpuTime | None:
        """Return cpuacct.usage, divided into user and system as cpuacct.stat divides."""
        usage = self._integer(self._at(path, "cpuacct.usage"))
        if usage is None:
            return None
        data = self._text(self._at(path, "cpuacct.stat"))
        match (data or b"").split():
            case [b"user", user, b"system", system] if user.isdigit() and system.isdigit():
                return CpuTime(usage // 1000, int(user) * TICK_USEC, int(system) * TICK_USEC, 0)
        stat = flat(data)
        return CpuTime(usage // 1000, stat.get("user", 0) * TICK_USEC, stat.get("system", 0) * TICK_USEC, 0)

    def hugetlb(self, path: str) -> tuple[HugePages, ...]:
        """Return hugetlb.SIZE.limit_in_bytes and .usage_in_bytes, minima over the levels."""
        return self._hugetlb(path, "limit_in_bytes", "usage_in_bytes")

    def oom_kills(self, path: str) -> int:
        """Return memory.oom_control's oom_kill, summed over the cgroup and all below it."""
        texts = (
            self._text(f"{directory}/memory.oom_control") for directory in below(self._hierarchy.directory(path))
        )
        return sum(flat(data).get("oom_kill", 0) for data in texts)

    def devices(self, path: str) -> tuple[DeviceUse, ...]:
        """Return blkio.throttle.io_serviced and .io_service_bytes, those below included where the kernel can."""
        counts, sizes = (
            devices(self._text(self._at(path, f"{name}_recursive")) or self._text(self._at(path, name)))
            for name in ("blkio.throttle.io_serviced", "blkio.throttle.io_service_bytes")
        )
        return tuple(
            DeviceUse(
                device,
                *(use.get(key, 0) for key in ("Read", "Write", "Discard") for use in (count, sizes.get(device, {}))),
            )
            for device, count in counts.items()
        )

    def threads(self, path: str) -> tuple[int, ...]:
        """Return the file tasks of the cgroup and all below it."""
        return self._threads(path, "tasks")

    def activity(self, path: str) -> bytes | None:
        """Return cpuacct.usage."""
        return self._text(self._at(path, "cpuacct.usage"))

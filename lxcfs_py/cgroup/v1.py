"""Reads v1 hierarchies (Documentation/admin-guide/cgroup-v1/); each object is one hierarchy."""

from __future__ import annotations

from lxcfs_py.cgroup.api import CpuTime, DeviceUse, HugePages, MemoryLevel
from lxcfs_py.cgroup.base import Base
from lxcfs_py.cgroup.layout import below
from lxcfs_py.cgroup.parse import devices, flat

USER_HZ = 100
"""The tick of cpuacct.stat, as userspace is always told (include/asm-generic/param.h)."""

V2_NAMES = {
    "anon": "total_rss", "file": "total_cache", "shmem": "total_shmem", "file_mapped": "total_mapped_file",
    "file_dirty": "total_dirty", "file_writeback": "total_writeback", "anon_thp": "total_rss_huge",
    "inactive_anon": "total_inactive_anon", "active_anon": "total_active_anon",
    "inactive_file": "total_inactive_file", "active_file": "total_active_file",
    "unevictable": "total_unevictable", "swapcached": "total_swapcached",
    "pgfault": "total_pgfault", "pgmajfault": "total_pgmajfault",
}  # fmt: skip
"""memory.stat's keys of v2 and what v1 calls them, the cgroups below included (memory.rst, 5.2)."""


class V1(Base):
    """The reading half for one v1 hierarchy; see ``api.Driver``."""

    version = 1

    def memory(self, path: str) -> tuple[MemoryLevel, ...]:
        """Return the leaf and the levels that limit something; swap used is what memsw counts beyond memory."""
        found: list[MemoryLevel] = []
        for directory in self._places(path)[1]:
            maximum = self._limit(directory, "memory.limit_in_bytes")
            both = self._limit(directory, "memory.memsw.limit_in_bytes")
            if found and maximum is both is None:
                continue
            usage = self._integer(directory, "memory.usage_in_bytes")
            if usage is None:
                continue
            stat = flat(self._text(directory, "memory.stat"))
            swapped = stat.get("total_swap")
            if swapped is None:
                swapped = max(0, (self._integer(directory, "memory.memsw.usage_in_bytes") or 0) - usage)
            found.append(
                MemoryLevel(
                    path=directory,
                    limit_bytes=maximum,
                    usage_bytes=usage,
                    swap_limit_bytes=None,
                    memsw_limit_bytes=both,
                    swap_usage_bytes=swapped,
                    stat={name: stat[old] for name, old in V2_NAMES.items() if old in stat},
                )
            )
        return tuple(found)

    def cpu_quota(self, path: str) -> float | None:
        """Return the smallest cpu.cfs_quota_us/cpu.cfs_period_us, in CPUs."""
        found = []
        for directory in self._places(path)[1]:
            quota = self._integer(directory, "cpu.cfs_quota_us")
            period = self._integer(directory, "cpu.cfs_period_us") if quota else None
            if quota and period:
                found.append(quota / period)
        return min(found, default=None)

    def cpuset(self, path: str) -> frozenset[int] | None:
        """Return cpuset.effective_cpus (cpuset.cpus before 3.17) of the nearest level that has any."""
        from lxcfs_py.procfs import cpulist

        for directory in self._places(path)[1]:
            for file in ("cpuset.effective_cpus", "cpuset.cpus"):
                data = self._text(directory, file)
                if data is not None and (found := cpulist.parse(data)):
                    return found
        return None

    def cpu_time(self, path: str) -> CpuTime | None:
        """Return cpuacct.usage, divided into user and system as cpuacct.stat divides."""
        directory, _ = self._places(path)
        usage = self._integer(directory, "cpuacct.usage")
        if usage is None:
            return None
        stat = flat(self._text(directory, "cpuacct.stat"))
        tick = 1_000_000 // USER_HZ
        return CpuTime(usage // 1000, stat.get("user", 0) * tick, stat.get("system", 0) * tick, 0)

    def hugetlb(self, path: str) -> tuple[HugePages, ...]:
        """Return hugetlb.SIZE.limit_in_bytes and .usage_in_bytes, minima over the levels."""
        return self._hugetlb(path, "limit_in_bytes", "usage_in_bytes")

    def oom_kills(self, path: str) -> int:
        """Return memory.oom_control's oom_kill, summed over the cgroup and all below it."""
        texts = (self._text(directory, "memory.oom_control") for directory in below(self._places(path)[0]))
        return sum(flat(data).get("oom_kill", 0) for data in texts)

    def devices(self, path: str) -> tuple[DeviceUse, ...]:
        """Return blkio.throttle.io_serviced and .io_service_bytes, those below included where the kernel can."""
        at = self._places(path)[0]
        counts, sizes = (
            devices(self._text(at, f"blkio.throttle.{name}_recursive") or self._text(at, f"blkio.throttle.{name}"))
            for name in ("io_serviced", "io_service_bytes")
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
        return self._text(self._places(path)[0], "cpuacct.usage")

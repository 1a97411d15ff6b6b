"""Reads v1 hierarchies (Documentation/admin-guide/cgroup-v1/); each object is one hierarchy."""

from __future__ import annotations

from lxcfs_py.cgroup.api import CpuTime, HugePages, MemoryLevel
from lxcfs_py.cgroup.parse import flat, integer, levels, limit, numbers, text
from lxcfs_py.cgroup.sizes import PAGE_SIZES
from lxcfs_py.cgroup.v2 import below, least

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.layout import Hierarchy
    from lxcfs_py.files import Files

USER_HZ = 100
"""The tick of cpuacct.stat, as userspace is always told (include/asm-generic/param.h)."""

V2_NAMES = {
    "anon": "total_rss", "file": "total_cache", "shmem": "total_shmem", "file_mapped": "total_mapped_file",
    "file_dirty": "total_dirty", "file_writeback": "total_writeback", "anon_thp": "total_rss_huge",
    "inactive_anon": "total_inactive_anon", "active_anon": "total_active_anon",
    "inactive_file": "total_inactive_file", "active_file": "total_active_file",
    "unevictable": "total_unevictable", "swapcached": "total_swapcached",
}  # fmt: skip
"""memory.stat's keys of v2 and what v1 calls them, the cgroups below included (memory.rst, 5.2)."""


class V1:
    """The reading half for one v1 hierarchy; see ``api.Driver``."""

    version = 1

    def __init__(self, files: Files, hierarchy: Hierarchy) -> None:
        self._files = files
        self._hierarchy = hierarchy

    def _text(self, path: str, file: str) -> bytes | None:
        return text(self._files, f"{self._hierarchy.directory(path)}/{file}")

    def memory(self, path: str) -> tuple[MemoryLevel, ...]:
        """Return the levels, leaf first; swap used is what memsw counts beyond memory."""
        found: list[MemoryLevel] = []
        for level in levels(path):
            usage = integer(self._text(level, "memory.usage_in_bytes"))
            if usage is None:
                continue
            maximum = limit(self._text(level, "memory.limit_in_bytes"))
            wanted = not found or maximum is not None
            stat = flat(self._text(level, "memory.stat")) if wanted else {}
            both = integer(self._text(level, "memory.memsw.usage_in_bytes"))
            found.append(
                MemoryLevel(
                    path=level,
                    limit_bytes=maximum,
                    usage_bytes=usage,
                    swap_limit_bytes=None,
                    memsw_limit_bytes=limit(self._text(level, "memory.memsw.limit_in_bytes")),
                    swap_usage_bytes=stat.get("total_swap", max(0, (both or 0) - usage)),
                    stat={name: stat[old] for name, old in V2_NAMES.items() if old in stat},
                )
            )
        return tuple(found)

    def cpu_quota(self, path: str) -> float | None:
        """Return the smallest cpu.cfs_quota_us/cpu.cfs_period_us, in CPUs."""
        found = []
        for level in levels(path):
            quota = integer(self._text(level, "cpu.cfs_quota_us"))
            period = integer(self._text(level, "cpu.cfs_period_us")) if quota else None
            if quota and period:
                found.append(quota / period)
        return min(found, default=None)

    def cpuset(self, path: str) -> frozenset[int] | None:
        """Return cpuset.effective_cpus (cpuset.cpus before 3.17) of the nearest level that has any."""
        from lxcfs_py.procfs import cpulist

        for level in levels(path):
            for file in ("cpuset.effective_cpus", "cpuset.cpus"):
                data = self._text(level, file)
                if data is not None and (found := cpulist.parse(data)):
                    return found
        return None

    def cpu_time(self, path: str) -> CpuTime | None:
        """Return cpuacct.usage, divided into user and system as cpuacct.stat divides."""
        usage = integer(self._text(path, "cpuacct.usage"))
        if usage is None:
            return None
        stat = flat(self._text(path, "cpuacct.stat"))
        tick = 1_000_000 // USER_HZ
        return CpuTime(usage // 1000, stat.get("user", 0) * tick, stat.get("system", 0) * tick)

    def hugetlb(self, path: str) -> tuple[HugePages, ...]:
        """Return hugetlb.SIZE.limit_in_bytes and .usage_in_bytes, minima over the levels."""
        found = []
        for name, size in PAGE_SIZES:
            usage = integer(self._text(path, f"hugetlb.{name}.usage_in_bytes"))
            if usage is not None:
                limits = (limit(self._text(level, f"hugetlb.{name}.limit_in_bytes")) for level in levels(path))
                found.append(HugePages(size, least(limits), usage))
        return tuple(found)

    def pids(self, path: str) -> tuple[int, ...]:
        """Return cgroup.procs of the cgroup and all below it."""
        return tuple(
            pid
            for directory in below(self._hierarchy.directory(path))
            for pid in numbers(text(self._files, f"{directory}/cgroup.procs"))
        )

    def tasks(self, path: str) -> int:
        """Return pids.current, or count tasks where there is no pids controller."""
        known = integer(self._text(path, "pids.current"))
        if known is not None:
            return known
        directories = below(self._hierarchy.directory(path))
        return sum(len(numbers(text(self._files, f"{directory}/tasks"))) for directory in directories)

    def oom_kills(self, path: str) -> int:
        """Return memory.oom_control's oom_kill, summed over the cgroup and all below it."""
        texts = (text(self._files, f"{d}/memory.oom_control") for d in below(self._hierarchy.directory(path)))
        return sum(flat(data).get("oom_kill", 0) for data in texts)

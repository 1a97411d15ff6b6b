"""Reads cgroup2 (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import os

from lxcfs_py.cgroup.api import CpuTime, HugePages, MemoryLevel
from lxcfs_py.cgroup.parse import flat, integer, levels, limit, numbers, text
from lxcfs_py.cgroup.sizes import PAGE_SIZES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lxcfs_py.cgroup.layout import Hierarchy
    from lxcfs_py.files import Files


class V2:
    """The reading half for cgroup2; see ``api.Driver``."""

    version = 2

    def __init__(self, files: Files, hierarchy: Hierarchy) -> None:
        self._files = files
        self._hierarchy = hierarchy

    def _text(self, path: str, file: str) -> bytes | None:
        return text(self._files, f"{self._hierarchy.directory(path)}/{file}")

    def memory(self, path: str) -> tuple[MemoryLevel, ...]:
        """Return the levels that have memory.current, leaf first."""
        found: list[MemoryLevel] = []
        for level in levels(path):
            usage = integer(self._text(level, "memory.current"))
            if usage is None:
                continue
            maximum = limit(self._text(level, "memory.max"))
            wanted = not found or maximum is not None
            found.append(
                MemoryLevel(
                    path=level,
                    limit_bytes=maximum,
                    usage_bytes=usage,
                    swap_limit_bytes=limit(self._text(level, "memory.swap.max")),
                    memsw_limit_bytes=None,
                    swap_usage_bytes=integer(self._text(level, "memory.swap.current")) or 0,
                    stat=flat(self._text(level, "memory.stat")) if wanted else {},
                )
            )
        return tuple(found)

    def cpu_quota(self, path: str) -> float | None:
        """Return the smallest of cpu.max's quota/period, in CPUs."""
        found = []
        for level in levels(path):
            words = (self._text(level, "cpu.max") or b"").split()
            if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
                found.append(int(words[0]) / int(words[1]))
        return min(found, default=None)

    def cpuset(self, path: str) -> frozenset[int] | None:
        """Return cpuset.cpus.effective of the nearest level that has it."""
        from lxcfs_py.procfs import cpulist

        for level in levels(path):
            data = self._text(level, "cpuset.cpus.effective")
            if data is not None and (found := cpulist.parse(data)):
                return found
        return None

    def cpu_time(self, path: str) -> CpuTime | None:
        """Return cpu.stat's times, which every cgroup has without any controller."""
        stat = flat(self._text(path, "cpu.stat"))
        if "usage_usec" not in stat:
            return None
        return CpuTime(
            stat["usage_usec"], stat.get("user_usec", 0), stat.get("system_usec", 0), stat.get("nice_usec", 0)
        )

    def hugetlb(self, path: str) -> tuple[HugePages, ...]:
        """Return hugetlb.SIZE.max and .current, minima over the levels."""
        found = []
        for name, size in PAGE_SIZES:
            usage = integer(self._text(path, f"hugetlb.{name}.current"))
            if usage is not None:
                limits = (limit(self._text(level, f"hugetlb.{name}.max")) for level in levels(path))
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
        """Return pids.current, or count cgroup.threads where there is no pids controller."""
        known = integer(self._text(path, "pids.current"))
        if known is not None:
            return known
        directories = below(self._hierarchy.directory(path))
        return sum(len(numbers(text(self._files, f"{directory}/cgroup.threads"))) for directory in directories)

    def oom_kills(self, path: str) -> int:
        """Return memory.events' oom_kill, which counts the levels below too."""
        return flat(self._text(path, "memory.events")).get("oom_kill", 0)


def least(limits: Iterable[int | None]) -> int | None:
    """Return the smallest of those that are known."""
    return min((value for value in limits if value is not None), default=None)


def below(directory: str) -> Iterator[str]:
    """Yield a cgroup's directory and all below it; those that vanish meanwhile are left out."""
    yield directory
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in names:
        yield from below(f"{directory}/{name}")

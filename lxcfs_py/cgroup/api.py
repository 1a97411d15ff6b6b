"""What a control group says, the same for v2 and v1: records and the interface of the two drivers.

Absent and unlimited are ``None``. Units are in the names. "Levels" are a cgroup and its ancestors, leaf
first, without the hierarchy's root (the root's limit is the machine itself).
"""

from __future__ import annotations

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol
else:
    Protocol = object


class Cgroup(Record):
    """Where tasks are: one path per hierarchy, as /proc/PID/cgroup lists them (cgroups(7)).

    ``paths`` maps each v1 controller name ("memory", "cpu", ..., "name=systemd") to its path and "" to
    the cgroup2 path. A path starts with "/" and is relative to the hierarchy's root cgroup.
    """

    paths: Mapping[str, str]


class MemoryLevel(Record):
    """Memory of one cgroup. ``stat`` uses v2's names and bytes on both versions (v1: its total_* rows)."""

    limit_bytes: int | None
    usage_bytes: int
    swap_limit_bytes: int | None
    """v2 memory.swap.max; always None on v1."""
    memsw_limit_bytes: int | None
    """v1 memory.memsw.limit_in_bytes (memory plus swap); always None on v2."""
    swap_usage_bytes: int
    stat: Mapping[str, int]
    """memory.stat; a key the kernel's version does not offer is absent."""


class CpuTime(Record):
    """Processor time used by a cgroup and all below it. ``nice_usec`` is part of ``user_usec``."""

    usage_usec: int
    user_usec: int
    system_usec: int
    nice_usec: int = 0


class HugePages(Record):
    """One page size of the hugetlb controller, minima over the levels."""

    size_bytes: int
    limit_bytes: int | None
    usage_bytes: int


class DeviceUse(Record):
    """What a cgroup and all below it have read from and written to one block device."""

    device: str
    """``MAJOR:MINOR``."""
    reads: int
    read_bytes: int
    writes: int
    write_bytes: int
    discards: int
    discard_bytes: int


class Driver(Protocol):
    """The reading half of one version. ``path`` is a cgroup's path in this driver's hierarchy.

    Every method returns None (or an empty tuple) where the controller is absent there, and also when the
    cgroup has gone; it never raises for what the kernel's files contain.
    """

    version: int

    def memory(self, path: str, *, swap: bool = True) -> tuple[MemoryLevel, ...]:
        """Return the nearest level that has the memory controller, and those above it that limit something.

        Without ``swap`` nothing is read of it: it has no limit, and none is used.
        """

    def numa_stat(self, path: str) -> Mapping[int, Mapping[str, int]]:
        """Return by node what memory.stat has for all, by v2's names; empty where that is not known."""

    def cpu_quota(self, path: str) -> float | None:
        """Return the smallest quota/period over the levels, in CPUs."""

    def cpuset(self, path: str) -> frozenset[int] | None:
        """Return the effective CPUs of the nearest level that has the controller."""

    def cpu_time(self, path: str) -> CpuTime | None:
        """Return the CPU time used since the cgroup was made."""

    def hugetlb(self, path: str) -> tuple[HugePages, ...]:
        """Return the page sizes the controller accounts for."""

    def pids(self, path: str) -> tuple[int, ...]:
        """Return the processes in the cgroup and all below it, in no order."""

    def oom_kills(self, path: str) -> int:
        """Return how often the OOM killer struck in the cgroup or below it."""

    def devices(self, path: str) -> tuple[DeviceUse, ...]:
        """Return the block devices that were used, in no order."""

    def slabinfo(self, path: str) -> bytes:
        """Return the cgroup's own slabinfo, empty where the kernel has none."""

    def task_count(self, path: str) -> int | None:
        """Return the number of threads in the cgroup and all below it."""

    def threads(self, path: str) -> tuple[int, ...]:
        """Return the threads in the cgroup and all below it, in no order."""

    def activity(self, path: str) -> bytes | None:
        """Return a text that changes when a task of the cgroup or below it runs; None once the cgroup has gone."""

"""proc/meminfo: the container's memory (docs/semantics.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.cgroup.v1 import V2_NAMES
from lxcfs_py.procfs import meminfo
from lxcfs_py.record import Record
from lxcfs_py.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.cgroup.api import HugePages, MemoryLevel
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/meminfo"

FROM_STAT = {
    "Active(anon)": "active_anon", "Inactive(anon)": "inactive_anon", "Active(file)": "active_file",
    "Inactive(file)": "inactive_file", "Unevictable": "unevictable", "Dirty": "file_dirty",
    "Writeback": "file_writeback", "AnonPages": "anon", "Mapped": "file_mapped", "Shmem": "shmem",
    "KReclaimable": "slab_reclaimable", "SReclaimable": "slab_reclaimable", "SUnreclaim": "slab_unreclaimable",
    "KernelStack": "kernel_stack", "PageTables": "pagetables", "SecPageTables": "sec_pagetables", "Percpu": "percpu",
    "AnonHugePages": "anon_thp", "ShmemHugePages": "shmem_thp", "FileHugePages": "file_thp", "Zswap": "zswap",
    "Zswapped": "zswapped", "VmallocUsed": "vmalloc", "SwapCached": "swapcached",
}  # fmt: skip
"""Lines about use, and their keys of memory.stat; a key the kernel's version lacks counts 0."""
SUMS = {
    "Active": ("Active(anon)", "Active(file)"), "Inactive": ("Inactive(anon)", "Inactive(file)"),
    "Slab": ("SReclaimable", "SUnreclaim"),
}  # fmt: skip
UNKNOWN = (
    "Mlocked", "NFS_Unstable", "Bounce", "WritebackTmp", "GPUActive", "GPUReclaim", "ShmemPmdMapped",
    "FilePmdMapped", "Committed_AS", "Buffers",
)  # fmt: skip
"""Lines about use that no cgroup accounts for: 0."""
MACHINE = ("CmaTotal", "CmaFree", "HardwareCorrupted", "Unaccepted")
"""Properties of the machine's memory; they are part of MemTotal."""
OWN = (
    "MemTotal", "MemFree", "MemAvailable", "Cached", "SwapTotal", "SwapFree", "CommitLimit", "HugePages_Total",
    "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp", "Hugetlb",
)  # fmt: skip
"""Lines with a rule of their own, in ``values``."""
HOST = (*MACHINE, *OWN, "Hugepagesize")
"""What is read of the host's lines."""
RECLAIMABLE = ("active_file", "inactive_file", "slab_reclaimable")


def from_stat(formula: str, *keys: str) -> Rule:
    """Return the rule of a line that is made of these keys, v2's, of memory.stat."""
    return Rule(
        formula,
        tuple(f"memory.stat:{key}" for key in keys),
        tuple(f"memory.stat:{V2_NAMES[key]}" for key in keys if key in V2_NAMES),
    )


_RECLAIMABLE = from_stat("", *RECLAIMABLE)
_LIMIT = Rule(
    "least of the host's and, at each level, the limit", ("memory.max",), ("memory.limit_in_bytes",), least=True
)
_ROOM = _LIMIT.replace(
    formula="least of the host's, MemTotal and, at each level with a limit, limit - usage",
    v2=(*_LIMIT.v2, "memory.current"),
    v1=(*_LIMIT.v1, "memory.usage_in_bytes"),
)
_SWAP = Rule(
    "least of the host's and the levels' limits; v1: least limit of memory + swap - MemTotal",
    v2=("memory.swap.max",),
    v1=("memory.memsw.limit_in_bytes", "memory.limit_in_bytes"),
    least=True,
)
_PAGES = Rule(
    "least of the host's and, at each level, the limit of the default size",
    v2=("hugetlb.*.max",),
    v1=("hugetlb.*.limit_in_bytes",),
    least=True,
    unit="pages",
)
LINES = {
    "MemTotal": _LIMIT,
    "MemFree": _ROOM,
    "MemAvailable": _ROOM.replace(
        formula=f"{_ROOM.formula} + reclaimable; reclaimable: {' + '.join(RECLAIMABLE)}, at most usage",
        v2=_ROOM.v2 + _RECLAIMABLE.v2,
        v1=_ROOM.v1 + _RECLAIMABLE.v1,
    ),
    "Cached": from_stat("file - swapcached", "file", "swapcached"),
    **{name: from_stat(key, key) for name, key in FROM_STAT.items()},
    **{name: from_stat(" + ".join(two), *(FROM_STAT[one] for one in two)) for name, two in SUMS.items()},
    "SwapTotal": _SWAP,
    "SwapFree": _SWAP.replace(
        formula="least of the host's, SwapTotal - the leaf's use and, at each level with a limit, limit - use",
        v2=(*_SWAP.v2, "memory.swap.current"),
        v1=(*_SWAP.v1, "memory.usage_in_bytes", "memory.memsw.usage_in_bytes", "memory.stat:total_swap"),
    ),
    "CommitLimit": Rule("the host's, at most MemTotal + SwapTotal", host=("proc/meminfo:LINE",)),
    "HugePages_Total": _PAGES,
    "HugePages_Free": _PAGES.replace(
        formula="least of the host's and HugePages_Total - usage",
        v2=(*_PAGES.v2, "hugetlb.*.current"),
        v1=(*_PAGES.v1, "hugetlb.*.usage_in_bytes"),
    ),
    **dict.fromkeys(("HugePages_Rsvd", "HugePages_Surp"), Rule("0: not accounted by cgroups", unit="pages")),
    "Hugetlb": _PAGES.replace(formula="the host's, at most the sum of the limits if every size has one", unit=""),
    **dict.fromkeys(MACHINE, Rule("the host's, at most MemTotal", host=("proc/meminfo:LINE",))),
    **dict.fromkeys(UNKNOWN, Rule("0: not accounted by cgroups")),
}

_UNKNOWN = dict.fromkeys(UNKNOWN, 0)
_rewrite = meminfo.Rewriter(HOST, {*FROM_STAT, *SUMS, *MACHINE, *OWN}, UNKNOWN)


class Swap(Record):
    """Swap in bytes."""

    total: int
    free: int


_NONE = Swap(0, 0)


def least(limits: list[int | None], host: int) -> int:
    """Return the smallest limit that is set, never above the host's."""
    return min([host, *(limit for limit in limits if limit is not None)])


def swap(host: Mapping[str, int], levels: tuple[MemoryLevel, ...]) -> Swap:
    """Return SwapTotal and SwapFree; v1 limits swap together with memory."""
    if not host.get("SwapTotal"):
        return _NONE
    total = least([level.swap_limit_bytes for level in levels], host.get("SwapTotal", 0))
    both = [level.memsw_limit_bytes for level in levels if level.memsw_limit_bytes is not None]
    if both:
        memory = [level.limit_bytes for level in levels if level.limit_bytes is not None]
        total = min(total, max(0, min(both) - min(memory, default=host.get("MemTotal", 0))))
    free = min(host.get("SwapFree", 0), total - (levels[0].swap_usage_bytes if levels else 0))
    for level in levels:
        if level.swap_limit_bytes is not None:
            free = min(free, level.swap_limit_bytes - level.swap_usage_bytes)
        if level.memsw_limit_bytes is not None:
            free = min(free, level.memsw_limit_bytes - level.usage_bytes - level.swap_usage_bytes)
    return Swap(total, max(0, free))


def values(host: Mapping[str, int], levels: tuple[MemoryLevel, ...], pages: tuple[HugePages, ...]) -> dict[str, int]:
    """Return the lines that are the container's, in bytes (HugePages_*: in pages)."""
    limits = [(level.limit_bytes, level) for level in levels if level.limit_bytes is not None]
    total = least([limit for limit, _ in limits], host.get("MemTotal", 0))
    free, available = min(host.get("MemFree", 0), total), min(host.get("MemAvailable", 0), total)
    for limit, level in limits:
        room = limit - level.usage_bytes
        reclaimable = sum([level.stat.get(key, 0) for key in RECLAIMABLE])
        free = min(free, room)
        available = min(available, room + min(reclaimable, level.usage_bytes))
    stat = levels[0].stat if levels else {}
    space = swap(host, levels)
    found = {name: stat.get(key, 0) for name, key in FROM_STAT.items()}
    for name, (one, other) in SUMS.items():
        found[name] = found[one] + found[other]
    found["Cached"] = stat.get("file", 0) - found["SwapCached"]
    for name in MACHINE:
        found[name] = host.get(name, 0)
    if max(found.values()) > total or min(found.values()) < 0:
        found = {name: max(0, min(value, total)) for name, value in found.items()}
    found.update(_UNKNOWN)
    found["MemTotal"] = total
    found["MemFree"] = max(0, free)
    found["MemAvailable"] = max(0, available)
    found["SwapTotal"] = space.total
    found["SwapFree"] = space.free
    found["SwapCached"] = min(found["SwapCached"], space.total)
    found["CommitLimit"] = min(host.get("CommitLimit", 0), total + space.total)
    return found | _huge(host, pages)


def _huge(host: Mapping[str, int], pages: tuple[HugePages, ...]) -> dict[str, int]:
    """Return HugePages_*, which are about the default size, and Hugetlb, about all sizes."""
    size, total, free = (host.get(name, 0) for name in ("Hugepagesize", "HugePages_Total", "HugePages_Free"))
    for page in pages:
        if page.size_bytes == size and page.limit_bytes is not None:
            total = min(total, page.limit_bytes // size)
            free = min(free, max(0, total - page.usage_bytes // size))
    every = host.get("Hugetlb", 0)
    limits = [page.limit_bytes for page in pages if page.limit_bytes is not None]
    if limits and len(limits) == len(pages):
        every = min(every, sum(limits))
    return {
        "HugePages_Total": total, "HugePages_Free": free, "HugePages_Rsvd": 0, "HugePages_Surp": 0, "Hugetlb": every,
    }  # fmt: skip


def of(reader: Reader, container: Container, host: Mapping[str, int]) -> dict[str, int]:
    """Return the lines that are the container's, as ``values`` does."""
    levels = reader.cgroups.memory(container.cgroup, swap=bool(host.get("SwapTotal")))
    # A machine without huge pages has none to limit, and the controller has a file a size and level.
    pages = reader.cgroups.hugetlb(container.cgroup) if host.get("Hugetlb") or host.get("HugePages_Total") else ()
    return values(host, levels, pages)


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    return _rewrite(reader.host_one(PATH), lambda host: of(reader, container, host))

"""proc/meminfo: the container's memory (docs/semantics.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.procfs import meminfo
from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.cgroup.api import HugePages, MemoryLevel
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/meminfo"

FROM_STAT = {
    "Active(anon)": ("active_anon",), "Inactive(anon)": ("inactive_anon",), "Active(file)": ("active_file",),
    "Inactive(file)": ("inactive_file",), "Unevictable": ("unevictable",), "Mlocked": (), "Dirty": ("file_dirty",),
    "Writeback": ("file_writeback",), "AnonPages": ("anon",), "Mapped": ("file_mapped",), "Shmem": ("shmem",),
    "KReclaimable": ("slab_reclaimable",), "Slab": ("slab",), "SReclaimable": ("slab_reclaimable",),
    "SUnreclaim": ("slab_unreclaimable",), "KernelStack": ("kernel_stack",), "PageTables": ("pagetables",),
    "SecPageTables": ("sec_pagetables",), "Percpu": ("percpu",), "AnonHugePages": ("anon_thp",),
    "ShmemHugePages": ("shmem_thp",), "FileHugePages": ("file_thp",), "Zswap": ("zswap",), "Zswapped": ("zswapped",),
    "NFS_Unstable": (), "Bounce": (), "WritebackTmp": (), "Balloon": (), "ShmemPmdMapped": (), "FilePmdMapped": (),
    "Committed_AS": (), "VmallocUsed": (), "Buffers": (), "Active": ("active_anon", "active_file"),
    "Inactive": ("inactive_anon", "inactive_file"), "SwapCached": ("swapcached",),
}  # fmt: skip
"""Each line about use, and the keys of memory.stat it sums; a key the kernel's version lacks counts 0."""
RECLAIMABLE = ("active_file", "inactive_file", "slab_reclaimable")


class Swap(Record):
    """Swap in bytes."""

    total: int
    free: int


def least(limits: list[int | None], host: int) -> int:
    """Return the smallest limit that is set, never above the host's."""
    return min([host, *(limit for limit in limits if limit is not None)])


def swap(host: Mapping[str, int], levels: tuple[MemoryLevel, ...]) -> Swap:
    """Return SwapTotal and SwapFree; v1 limits swap together with memory."""
    total = least([level.swap_limit_bytes for level in levels], host.get("SwapTotal", 0))
    both = [level.memsw_limit_bytes for level in levels if level.memsw_limit_bytes is not None]
    if both:
        memory = least([level.limit_bytes for level in levels], host.get("MemTotal", 0))
        total = min(total, max(0, min(both) - memory))
    used = levels[0].swap_usage_bytes if levels else 0
    return Swap(total, min(host.get("SwapFree", 0), max(0, total - used)))


def values(host: Mapping[str, int], levels: tuple[MemoryLevel, ...], pages: tuple[HugePages, ...]) -> dict[str, int]:
    """Return the lines that are the container's, in bytes (HugePages_*: in pages)."""
    if not levels:
        return {}
    own, limited = levels[0], [level for level in levels if level.limit_bytes is not None]
    total = least([level.limit_bytes for level in limited], host.get("MemTotal", 0))
    free, available = host.get("MemFree", 0), min(host.get("MemAvailable", 0), total)
    for level in limited:
        room = (level.limit_bytes or 0) - level.usage_bytes
        free = min(free, room)
        available = min(available, room + sum(level.stat.get(key, 0) for key in RECLAIMABLE))
    found = {name: min(total, sum(own.stat.get(key, 0) for key in keys)) for name, keys in FROM_STAT.items()}
    if "slab" not in own.stat:
        found["Slab"] = min(total, found["SReclaimable"] + found["SUnreclaim"])
    space = swap(host, levels)
    file, cached_swap = own.stat.get("file", 0), found["SwapCached"]
    free = max(0, min(free, total))
    found |= {
        "MemTotal": total,
        "MemFree": free,
        "MemAvailable": max(free if not limited else 0, available),
        "Cached": min(total, max(0, file - cached_swap)),
        "SwapTotal": space.total,
        "SwapFree": space.free,
        "SwapCached": min(cached_swap, space.total),
    }
    return found | _huge(host, pages)


def _huge(host: Mapping[str, int], pages: tuple[HugePages, ...]) -> dict[str, int]:
    """Return HugePages_*, which are about the default size, and Hugetlb, about all sizes."""
    size = host.get("Hugepagesize", 0)
    for page in pages:
        if page.size_bytes == size and page.limit_bytes is not None:
            total = min(host.get("HugePages_Total", 0), page.limit_bytes // size)
            free = min(host.get("HugePages_Free", 0), max(0, total - page.usage_bytes // size))
            return {"HugePages_Total": total, "HugePages_Free": free, "HugePages_Rsvd": 0, "HugePages_Surp": 0}
    return {}


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    text = reader.host_bytes(PATH)
    levels = reader.cgroups.memory(container.cgroup)
    return meminfo.rewrite(text, values(meminfo.parse(text), levels, reader.cgroups.hugetlb(container.cgroup)))

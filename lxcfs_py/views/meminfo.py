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
    "NFS_Unstable": (), "Bounce": (), "WritebackTmp": (), "GPUActive": (), "GPUReclaim": (),
    "ShmemPmdMapped": (), "FilePmdMapped": (),
    "Committed_AS": (), "VmallocUsed": ("vmalloc",), "Buffers": (), "Active": ("active_anon", "active_file"),
    "Inactive": ("inactive_anon", "inactive_file"), "SwapCached": ("swapcached",),
}  # fmt: skip
"""Each line about use, and the keys of memory.stat it sums; a key the kernel's version lacks counts 0."""
MACHINE = ("CmaTotal", "CmaFree", "HardwareCorrupted", "Unaccepted")
"""Properties of the machine's memory; they are part of MemTotal."""
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
        reclaimable = sum(level.stat.get(key, 0) for key in RECLAIMABLE)
        free = min(free, room)
        available = min(available, room + min(reclaimable, level.usage_bytes))
    stat = levels[0].stat if levels else {}
    space = swap(host, levels)
    found = {name: min(total, sum(stat.get(key, 0) for key in keys)) for name, keys in FROM_STAT.items()}
    if "slab" not in stat:
        found["Slab"] = min(total, found["SReclaimable"] + found["SUnreclaim"])
    found |= {name: min(total, host.get(name, 0)) for name in MACHINE}
    found |= {
        "MemTotal": total,
        "MemFree": max(0, free),
        "MemAvailable": max(0, available),
        "Cached": max(0, min(total, stat.get("file", 0)) - stat.get("swapcached", 0)),
        "SwapTotal": space.total,
        "SwapFree": space.free,
        "SwapCached": min(found["SwapCached"], space.total),
        "CommitLimit": min(host.get("CommitLimit", 0), total + space.total),
    }
    return found | _huge(host, pages)


def _huge(host: Mapping[str, int], pages: tuple[HugePages, ...]) -> dict[str, int]:
    """Return HugePages_*, which are about the default size, and Hugetlb, about all sizes."""
    size, total, free = (host.get(name, 0) for name in ("Hugepagesize", "HugePages_Total", "HugePages_Free"))
    for page in pages:
        if page.size_bytes == size and page.limit_bytes is not None:
            total = min(total, page.limit_bytes // size)
            free = min(free, max(0, total - page.usage_bytes // size))
    found = {"HugePages_Total": total, "HugePages_Free": free, "HugePages_Rsvd": 0, "HugePages_Surp": 0}
    limits = [page.limit_bytes for page in pages if page.limit_bytes is not None]
    if limits and len(limits) == len(pages):
        found["Hugetlb"] = min(host.get("Hugetlb", 0), sum(limits))
    return found


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    text = reader.host_bytes(PATH)
    levels = reader.cgroups.memory(container.cgroup)
    return meminfo.rewrite(text, values(meminfo.parse(text), levels, reader.cgroups.hugetlb(container.cgroup)))

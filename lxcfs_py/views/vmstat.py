"""proc/vmstat: the counters a cgroup has too; the others, which are activity, are 0."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from lxcfs_py.procfs import meminfo as meminfo_parser
from lxcfs_py.procfs import vmstat
from lxcfs_py.rule import Rule
from lxcfs_py.views import meminfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lxcfs_py.cgroup.api import DeviceUse
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/vmstat"
FROM_MEMINFO = {
    "nr_free_pages": "MemFree", "nr_inactive_anon": "Inactive(anon)", "nr_active_anon": "Active(anon)",
    "nr_inactive_file": "Inactive(file)", "nr_active_file": "Active(file)", "nr_unevictable": "Unevictable",
    "nr_zone_inactive_anon": "Inactive(anon)", "nr_zone_active_anon": "Active(anon)",
    "nr_zone_inactive_file": "Inactive(file)", "nr_zone_active_file": "Active(file)",
    "nr_zone_unevictable": "Unevictable", "nr_anon_pages": "AnonPages", "nr_mapped": "Mapped",
    "nr_dirty": "Dirty", "nr_writeback": "Writeback", "nr_shmem": "Shmem", "nr_swapcached": "SwapCached",
    "nr_slab_reclaimable": "SReclaimable", "nr_slab_unreclaimable": "SUnreclaim",
    "nr_page_table_pages": "PageTables", "nr_sec_page_table_pages": "SecPageTables",
}  # fmt: skip
"""Amounts in pages, and their lines in meminfo (mm/vmstat.c, fs/proc/meminfo.c)."""
MACHINE = ("nr_dirty_threshold", "nr_dirty_background_threshold", "nr_memmap_pages", "nr_memmap_boot_pages")
"""Properties of the machine, which stay."""
AMOUNTS = "nr_"
"""What begins so is an amount in units of its own: never taken from memory.stat, which has bytes."""


def _amount(line: str) -> Rule:
    rule = meminfo.LINES[line]
    host = (f"{meminfo.PATH}:{line}",) if rule.least else ()
    return rule.replace(formula=f"{line} of proc/meminfo, in pages", host=host, unit="pages")


LINES = {
    **{name: _amount(line) for name, line in FROM_MEMINFO.items()},
    "nr_file_pages": meminfo.from_stat("Cached + SwapCached of proc/meminfo, in pages", "file").replace(unit="pages"),
    "nr_kernel_stack": meminfo.LINES["KernelStack"].replace(formula="KernelStack of proc/meminfo", unit="KiB"),
    **dict.fromkeys(MACHINE, Rule("the host's: a property of the machine", host=("proc/vmstat:LINE",))),
    "nr_*": Rule("0: not known of a cgroup"),
    **{name: meminfo.from_stat(name, name) for name in ("pgfault", "pgmajfault")},
    **{
        name: Rule(
            f"bytes {done} all devices / 1024", ("io.stat",), ("blkio.throttle.io_service_bytes*",), unit="KiB"
        )
        for name, done in (("pgpgin", "read from"), ("pgpgout", "written to"))
    },
    "oom_kill": Rule("oom_kill", ("memory.events:oom_kill",), ("memory.oom_control:oom_kill",)),
    "*": Rule("the key of that name, 0 if there is none", v2=("memory.stat:LINE",)),
}


def values(
    host: Mapping[str, int],
    amounts: Mapping[str, int],
    stat: Mapping[str, int],
    uses: Iterable[DeviceUse],
    kills: int,
) -> dict[str, int]:
    """Return the counters by name; ``amounts`` are meminfo's lines in bytes, ``stat`` is memory.stat.

    memory.stat has events under vmstat's own names (mm/memcontrol.c, memcg_vm_event_stat).
    """
    uses = tuple(uses)
    found = {name: count for name, count in stat.items() if not name.startswith(AMOUNTS)}
    found |= {name: amounts.get(line, 0) // mmap.PAGESIZE for name, line in FROM_MEMINFO.items()}
    found |= {name: host.get(name, 0) for name in MACHINE}
    found |= {
        "nr_file_pages": (amounts.get("Cached", 0) + amounts.get("SwapCached", 0)) // mmap.PAGESIZE,
        "nr_kernel_stack": amounts.get("KernelStack", 0) // 1024,
        "pgpgin": sum(use.read_bytes for use in uses) // 1024,
        "pgpgout": sum(use.write_bytes for use in uses) // 1024,
        "oom_kill": kills,
    }
    return found


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    text, cgroups, cgroup = reader.host_bytes(PATH), reader.cgroups, container.cgroup
    levels = cgroups.memory(cgroup)
    amounts = meminfo.values(meminfo_parser.parse(reader.host_bytes(meminfo.PATH)), levels, ())
    stat = levels[0].stat if levels else {}
    found = values(vmstat.parse(text), amounts, stat, cgroups.devices(cgroup), cgroups.oom_kills(cgroup))
    return vmstat.rewrite(text, found)

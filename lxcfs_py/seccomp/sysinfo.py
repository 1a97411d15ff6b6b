"""sysinfo(2): struct sysinfo of a container, in the layout of the caller (include/uapi/linux/sysinfo.h)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from lxcfs_py.loads import FSHIFT
from lxcfs_py.procfs import meminfo
from lxcfs_py.record import Record
from lxcfs_py.views.meminfo import values

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

_LAYOUTS = {64: struct.Struct("=q9QHHxxxxQQIxxxx"), 32: struct.Struct("=i9IHHIIIxxxxxxxx")}
PAGE_BYTES = 4096
MOST_PROCS = 0xFFFF
NSEC = 1_000_000_000
SHIFT = 16 - FSHIFT
Loads = tuple[int, int, int]
"""Load averages of 1, 5 and 15 minutes, times 65536 (SI_LOAD_SHIFT)."""


class Figures(Record):
    """What is told."""

    up_nsec: int
    loads: Loads
    total_bytes: int
    free_bytes: int
    shared_bytes: int
    buffer_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    procs: int
    """Tasks, threads included."""


def pack(figures: Figures, bits: int) -> bytes:
    """Return the structure as the kernel fills it in (kernel/sys.c: do_sysinfo, compat_sysinfo).

    Seconds are rounded up. Amounts are in bytes; a 32-bit caller's are in pages if the totals would not fit.
    """
    total, swap = figures.total_bytes, figures.swap_total_bytes
    unit = PAGE_BYTES if bits == 32 and max(total, swap) >> 32 else 1
    amounts = (total, figures.free_bytes, figures.shared_bytes, figures.buffer_bytes, swap, figures.swap_free_bytes)
    return _LAYOUTS[bits].pack(
        -(-max(0, figures.up_nsec) // NSEC),
        *figures.loads,
        *(amount // unit for amount in amounts),
        min(figures.procs, MOST_PROCS),
        0,
        0,  # high memory: 64-bit kernels have none
        0,
        unit,
    )


def read(reader: Reader, container: Container) -> Figures:
    """Gather a container's figures: those of the files of the same names; raises OSError."""
    one, five, fifteen = reader.loads.load(container).averages
    host = meminfo.parse(reader.host_bytes("proc/meminfo"))
    found = values(host, reader.cgroups.memory(container.cgroup), ())  # (huge pages are no part of it)
    return Figures(
        reader.now_nsec() - container.start_nsec,
        (one << SHIFT, five << SHIFT, fifteen << SHIFT),
        found["MemTotal"],
        found["MemFree"],
        found["Shmem"],
        found["Buffers"],
        found["SwapTotal"],
        found["SwapFree"],
        reader.cgroups.tasks(container.cgroup),
    )

"""Which files are served: the one list, light enough for the runtime's way to a container."""

from __future__ import annotations

PRESSURE = "proc/pressure"
STALLS = ("cpu", "io", "irq", "memory")
"""What cgroup2 counts stall for, in files of the name with ``.pressure``, as /proc/pressure does for the machine.

irq's are there where the kernel accounts for interrupts (CONFIG_IRQ_TIME_ACCOUNTING).
"""
FILES = {
    "proc/cpuinfo": "cpuinfo", "proc/diskstats": "diskstats", "proc/loadavg": "loadavg", "proc/meminfo": "meminfo",
    "proc/slabinfo": "slabinfo", "proc/stat": "stat", "proc/swaps": "swaps", "proc/uptime": "uptime",
    "proc/vmstat": "vmstat",
    **{f"{PRESSURE}/{name}": "pressure" for name in STALLS},
}  # fmt: skip
"""Each file below the mount point, and its module in ``views``."""
CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
PASSED = {CPU: "cpus", NODE: "nodes"}
"""Each directory that is the host's with some of its files made anew, and its module in ``views``."""
BOUND = (*FILES, *PASSED)
"""What is bound into a container, where its host has such a file."""
ROOT_ONLY = ("proc/slabinfo",)
"""What only root may read, as the kernel has it (mm/slab_common.c, SLABINFO_RIGHTS)."""
LONG = ("proc/cpuinfo", "proc/diskstats", "proc/slabinfo", "proc/stat", "proc/vmstat")
"""What may be longer than a page."""

"""Limits: from options to OCI's ``linux.resources``, and from there to what the cgroups take."""

from __future__ import annotations

import os

from lxcfs_py.errors import reason
from runtime import units
from runtime.errors import RunError
from runtime.process import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lxcfs_py.cgroup.control import Limits
    from runtime.command_line import Parsed

PERIOD_USEC = 100_000
"""The usual period of CPU quotas (Documentation/scheduler/sched-bwc.rst)."""
THROTTLES = (
    ("device_read_bps", "throttleReadBpsDevice", "rbps"),
    ("device_write_bps", "throttleWriteBpsDevice", "wbps"),
    ("device_read_iops", "throttleReadIOPSDevice", "riops"),
    ("device_write_iops", "throttleWriteIOPSDevice", "wiops"),
)
"""Option, OCI's name and the cgroup's word of each io limit."""


def _memory(options: Parsed) -> dict[str, int]:
    limit, swap = options["memory"], options["memory_swap"]
    if limit is not None and swap in (None, 0):
        swap = 2 * limit  # Docker's default: as much swap as memory
    swappiness = options["memory_swappiness"]
    named = (
        ("limit", limit),
        ("reservation", options["memory_reservation"]),
        ("swap", swap),
        ("swappiness", None if swappiness == -1 else swappiness),
        ("disableOOMKiller", options["oom_kill_disable"] or None),
    )
    return {key: value for key, value in named if value is not None}


def quota(nano_cpus: int) -> dict[str, int]:
    """Return the part of OCI's ``cpu`` that so many billionths of a CPU are."""
    return {"quota": nano_cpus * PERIOD_USEC // units.NANO_CPUS, "period": PERIOD_USEC}


def _cpu(options: Parsed) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options["cpus"] is not None:
        found |= quota(options["cpus"])
    if options["cpu_quota"] is not None or options["cpu_period"] is not None:
        found |= {"quota": options["cpu_quota"] or -1, "period": options["cpu_period"] or PERIOD_USEC}
    for key, name in (("shares", "cpu_shares"), ("cpus", "cpuset_cpus"), ("mems", "cpuset_mems")):
        if options[name] is not None:
            found[key] = options[name]
    return found


def _throttle(option: str, path: str, rate: int) -> dict[str, int]:
    flag = "--" + option.replace("_", "-")
    try:
        about = os.stat(path)
    except OSError as error:
        raise RunError(f"{flag} {reason(error)}", "name a disk's node, as /dev/sda") from error
    if about.st_mode & 0o170000 != 0o060000:  # S_IFMT, S_IFBLK
        raise RunError(f"{flag} {path}: not a block device", "name a disk's node, as /dev/sda")
    return {"major": os.major(about.st_rdev), "minor": os.minor(about.st_rdev), "rate": rate}


def build(options: Parsed) -> dict[str, Any]:
    """Return ``linux.resources`` (config-linux.md); raises an Error for an io limit of what is no disk."""
    io: dict[str, Any] = {
        key: [_throttle(name, path, rate) for path, rate in options[name]]
        for name, key, _ in THROTTLES
        if options[name]
    }
    if options["blkio_weight"]:
        io["weight"] = options["blkio_weight"]
    pids = options["pids_limit"]
    parts: dict[str, Any] = {
        "memory": _memory(options),
        "cpu": _cpu(options),
        "pids": {"limit": pids} if pids is not None and pids > 0 else {},
        "blockIO": io,
    }
    return {
        **{key: value for key, value in parts.items() if value},
        "devices": devices.default_rules(everything=options["privileged"]),
    }


def _weights(io: Mapping[str, Any], key: str) -> tuple[tuple[int, int, int], ...]:
    rows = io.get("weightDevice") or ()
    return tuple((row["major"], row["minor"], row[key]) for row in rows if row.get(key))


def limits(resources: Mapping[str, Any]) -> Limits:
    """Return the limits of ``linux.resources`` as the cgroups' writing half takes them.

    As with runc 0 is "not set", but where it means something (swappiness, idle, throttles), and ``memory.kernel``,
    which kernels no longer have, is left out.
    """
    from lxcfs_py.cgroup.control import Limits

    memory, cpu, pids, io, network = (
        resources.get(key) or {} for key in ("memory", "cpu", "pids", "blockIO", "network")
    )
    rdma = resources.get("rdma") or {}
    return Limits(
        memory_bytes=memory.get("limit") or None,
        memory_reservation_bytes=memory.get("reservation") or None,
        swap_total_bytes=memory.get("swap") or None,
        memory_tcp_bytes=memory.get("kernelTCP") or None,
        memory_swappiness=memory.get("swappiness"),
        oom_killer_disabled=bool(memory.get("disableOOMKiller")),
        cpu_quota_usec=cpu.get("quota") or None,
        cpu_period_usec=cpu.get("period") or None,
        cpu_burst_usec=cpu.get("burst"),
        cpu_shares=cpu.get("shares") or None,
        cpu_idle=cpu.get("idle"),
        cpu_realtime_runtime_usec=cpu.get("realtimeRuntime") or None,
        cpu_realtime_period_usec=cpu.get("realtimePeriod") or None,
        cpuset_cpus=cpu.get("cpus") or None,
        cpuset_mems=cpu.get("mems") or None,
        pids_limit=pids.get("limit") or None,
        io=tuple(
            (row["major"], row["minor"], kind, row["rate"]) for _, key, kind in THROTTLES for row in io.get(key) or ()
        ),
        io_weight=io.get("weight") or None,
        io_leaf_weight=io.get("leafWeight") or None,
        io_device_weights=_weights(io, "weight"),
        io_device_leaf_weights=_weights(io, "leafWeight"),
        hugetlb=tuple((row["pageSize"], row["limit"]) for row in resources.get("hugepageLimits") or ()),
        rdma=tuple((name, row.get("hcaHandles"), row.get("hcaObjects")) for name, row in rdma.items()),
        net_classid=network.get("classID"),
        net_priorities=tuple((row["name"], row["priority"]) for row in network.get("priorities") or ()),
        unified=dict(resources.get("unified") or {}),
    )

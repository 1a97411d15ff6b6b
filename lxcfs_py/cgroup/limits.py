"""A container's limits, and what each version's files take for them; pure.

Controllers have v1's names here: cgroup2's ``io`` is ``blkio``. What a version has no file for is written all the
same, to the file the other one has: that it is missing is the error a person can understand.
"""

from __future__ import annotations

from lxcfs_py.errors import Error
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PERIOD_USEC = 100_000
V1_THROTTLE = {
    "rbps": "blkio.throttle.read_bps_device", "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device", "wiops": "blkio.throttle.write_iops_device",
}  # fmt: skip
V2_NAMES = {"blkio": "io"}
"""What cgroup2 calls a controller that v1 calls otherwise."""


class Limits(Record):
    """None is "not set"; -1, where OCI allows it, is "no limit"."""

    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    swap_total_bytes: int | None = None
    """Memory and swap together, as OCI and Docker count."""
    memory_tcp_bytes: int | None = None
    memory_swappiness: int | None = None
    oom_killer_disabled: bool = False
    cpu_quota_usec: int | None = None
    cpu_period_usec: int | None = None
    cpu_burst_usec: int | None = None
    cpu_shares: int | None = None
    cpu_idle: int | None = None
    cpu_realtime_runtime_usec: int | None = None
    cpu_realtime_period_usec: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_limit: int | None = None
    io: tuple[tuple[int, int, str, int], ...] = ()
    """Major, minor, rbps | wbps | riops | wiops, and the rate; 0 is no limit."""
    io_weight: int | None = None
    io_leaf_weight: int | None = None
    io_device_weights: tuple[tuple[int, int, int], ...] = ()
    """Major, minor and weight. Weights are v1's, 10 to 1000."""
    io_device_leaf_weights: tuple[tuple[int, int, int], ...] = ()
    hugetlb: tuple[tuple[str, int], ...] = ()
    """Page size as the kernel writes it (2MB), and bytes."""
    rdma: tuple[tuple[str, int | None, int | None], ...] = ()
    """Device, handles and objects."""
    net_classid: int | None = None
    net_priorities: tuple[tuple[str, int], ...] = ()
    """Interface and priority."""
    unified: Mapping[str, str] = {}
    """cgroup2 files and what to write there (config-linux.md, "Unified")."""


class Write(Record):
    """One limit: files and what each would take, of which the first that is there gets it."""

    choices: tuple[tuple[str, str], ...]


def _rows(*rows: tuple[str, object]) -> list[Write]:
    return [Write(((file, str(value)),)) for file, value in rows if value is not None]


def weight_from_shares(shares: int) -> int:
    """Return cpu.weight of cpu.shares, as the OCI runtimes convert: 2..262144 to 1..10000, linearly."""
    return min(10000, max(1, 1 + (shares - 2) * 9999 // 262142))


def weight_from_blkio(weight: int) -> int:
    """Return io.weight of blkio.weight, as the OCI runtimes convert: 10..1000 to 1..10000, linearly."""
    return 1 + (weight - 10) * 9999 // 990


def _shared(limits: Limits) -> dict[str, list[Write]]:
    """Return what both versions call and count alike."""
    rdma = [
        f"{device} " + " ".join(f"{key}={n}" for key, n in (("hca_handle", h), ("hca_object", o)) if n is not None)
        for device, h, o in limits.rdma
    ]
    return {
        "cpuset": _rows(("cpuset.cpus", limits.cpuset_cpus), ("cpuset.mems", limits.cpuset_mems)),
        "pids": _rows(("pids.max", _or_max(limits.pids_limit))),
        "rdma": _rows(*(("rdma.max", text) for text in rdma)),
        "net_cls": _rows(("net_cls.classid", limits.net_classid)),
        "net_prio": _rows(
            *(("net_prio.ifpriomap", f"{name} {priority}") for name, priority in limits.net_priorities)
        ),
    }


def _weights(
    common: int | None, devices: Iterable[tuple[int, int, int]], *files: tuple[str, Callable[[int], int]]
) -> list[Write]:
    """Return the writes of weights; of the ``files`` each says how it counts. v1 has others for devices."""
    found = [] if common is None else [Write(tuple((file, str(count(common))) for file, count in files))]
    for major, minor, weight in devices:
        there = ((f"{file}_device" if file.startswith("blkio.") else file, count(weight)) for file, count in files)
        found.append(Write(tuple((file, f"{major}:{minor} {number}") for file, number in there)))
    return found


def v1_writes(limits: Limits) -> dict[str, list[Write]]:
    """Return what each v1 controller's files take (Documentation/admin-guide/cgroup-v1)."""
    return {
        **_shared(limits),
        "memory": _rows(
            ("memory.limit_in_bytes", limits.memory_bytes),
            ("memory.memsw.limit_in_bytes", v1_swap(limits)),
            ("memory.soft_limit_in_bytes", limits.memory_reservation_bytes),
            ("memory.kmem.tcp.limit_in_bytes", limits.memory_tcp_bytes),
            ("memory.swappiness", limits.memory_swappiness),
            ("memory.oom_control", 1 if limits.oom_killer_disabled else None),
        ),
        "cpu": _rows(
            ("cpu.idle", limits.cpu_idle),
            ("cpu.shares", limits.cpu_shares),
            ("cpu.cfs_period_us", limits.cpu_period_usec),
            ("cpu.cfs_quota_us", limits.cpu_quota_usec),
            ("cpu.cfs_burst_us", limits.cpu_burst_usec),
            ("cpu.rt_period_us", limits.cpu_realtime_period_usec),
            ("cpu.rt_runtime_us", limits.cpu_realtime_runtime_usec),
        ),
        "blkio": [
            *_weights(limits.io_weight, limits.io_device_weights, ("blkio.weight", int), ("blkio.bfq.weight", int)),
            *_weights(limits.io_leaf_weight, limits.io_device_leaf_weights, ("blkio.leaf_weight", int)),
            *_rows(*((V1_THROTTLE[kind], f"{major}:{minor} {rate}") for major, minor, kind, rate in limits.io)),
        ],
        "hugetlb": _rows(*((f"hugetlb.{size}.limit_in_bytes", value) for size, value in limits.hugetlb)),
    }


def v2_writes(limits: Limits) -> dict[str, list[Write]]:
    """Return what cgroup2's files take (cgroup-v2.rst), but for ``unified``; raises an Error as ``v2_swap`` does."""
    return {
        **_shared(limits),
        "memory": _rows(
            ("memory.max", _or_max(limits.memory_bytes)),
            ("memory.swap.max", v2_swap(limits)),
            ("memory.low", _or_max(limits.memory_reservation_bytes)),
            ("memory.kmem.tcp.limit_in_bytes", limits.memory_tcp_bytes),
            ("memory.swappiness", limits.memory_swappiness),
            ("memory.oom_control", 1 if limits.oom_killer_disabled else None),
        ),
        "cpu": _rows(
            ("cpu.idle", limits.cpu_idle),
            ("cpu.weight", None if limits.cpu_shares is None else weight_from_shares(limits.cpu_shares)),
            ("cpu.max", _quota(limits)),
            ("cpu.max.burst", limits.cpu_burst_usec),
            ("cpu.rt_period_us", limits.cpu_realtime_period_usec),
            ("cpu.rt_runtime_us", limits.cpu_realtime_runtime_usec),
        ),
        "blkio": [
            *_weights(
                limits.io_weight,
                limits.io_device_weights,
                ("io.bfq.weight", int),
                ("io.weight", weight_from_blkio),
            ),
            *_weights(limits.io_leaf_weight, limits.io_device_leaf_weights, ("blkio.leaf_weight", int)),
            *_rows(
                *(("io.max", f"{major}:{minor} {kind}={rate or 'max'}") for major, minor, kind, rate in limits.io)
            ),
        ],
        "hugetlb": _rows(*((f"hugetlb.{size}.max", value) for size, value in limits.hugetlb)),
    }


def _or_max(value: int | None) -> object:
    return "max" if value is not None and value < 0 else value


def _quota(limits: Limits) -> str | None:
    quota, period = limits.cpu_quota_usec, limits.cpu_period_usec
    if quota is None and period is None:
        return None
    return f"{quota if quota is not None and quota > 0 else 'max'} {period or PERIOD_USEC}"


def v1_swap(limits: Limits) -> int | None:
    """Return what limits memory and swap; no limit of memory and no word of swap is no limit of both, as in runc."""
    return -1 if limits.memory_bytes == -1 and limits.swap_total_bytes is None else limits.swap_total_bytes


def v2_swap(limits: Limits) -> object:
    """Return memory.swap.max, which counts swap alone; raises an Error where that can't be told."""
    total, memory = v1_swap(limits), limits.memory_bytes
    if total is None or total < 0 or memory == -1:
        return _or_max(total)
    if memory is None:
        raise Error(f"swap limit {total} without a memory limit: it counts both", "set memory.limit too")
    if total < memory:
        raise Error(f"swap limit {total} below the memory limit {memory}: it counts both", "set at least as much")
    return total - memory

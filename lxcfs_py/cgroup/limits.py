"""A container's limits, and what each version's files take for them; pure."""

from __future__ import annotations

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PERIOD_USEC = 100_000
V1_THROTTLE = {
    "rbps": "blkio.throttle.read_bps_device", "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device", "wiops": "blkio.throttle.write_iops_device",
}  # fmt: skip


class Limits(Record):
    """None is "not set"; -1, where OCI allows it, is "no limit"."""

    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    swap_total_bytes: int | None = None
    """Memory and swap together, as OCI and Docker count."""
    cpu_quota_usec: int | None = None
    cpu_period_usec: int | None = None
    cpu_shares: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_limit: int | None = None
    io: tuple[tuple[int, int, str, int], ...] = ()
    """Major, minor, rbps | wbps | riops | wiops, and the rate."""
    unified: Mapping[str, str] = {}
    """cgroup2 files and what to write there (config-linux.md, "Unified")."""


def weight_from_shares(shares: int) -> int:
    """Return cpu.weight of cpu.shares, as the OCI runtimes convert: 2..262144 to 1..10000, linearly."""
    return min(10000, max(1, 1 + (shares - 2) * 9999 // 262142))


def v1_writes(controller: str, limits: Limits) -> list[tuple[str, str]]:
    """Return file and text of every write to one v1 controller, in an order the kernel takes."""
    rows: dict[str, tuple[tuple[str, object], ...]] = {
        "memory": (
            ("memory.limit_in_bytes", limits.memory_bytes),
            ("memory.memsw.limit_in_bytes", limits.swap_total_bytes),  # never below the one before
            ("memory.soft_limit_in_bytes", limits.memory_reservation_bytes),
        ),
        "cpu": (
            ("cpu.cfs_period_us", limits.cpu_period_usec),
            ("cpu.cfs_quota_us", limits.cpu_quota_usec),
            ("cpu.shares", limits.cpu_shares),
        ),
        "cpuset": (("cpuset.cpus", limits.cpuset_cpus), ("cpuset.mems", limits.cpuset_mems)),
        "pids": (("pids.max", _or_max(limits.pids_limit)),),
        "blkio": tuple((V1_THROTTLE[kind], f"{major}:{minor} {rate}") for major, minor, kind, rate in limits.io),
    }
    return [(file, str(value)) for file, value in rows.get(controller, ()) if value is not None]


def v2_writes(limits: Limits) -> list[tuple[str, str]]:
    """Return file and text of every write to cgroup2 (cgroup-v2.rst)."""
    rows: tuple[tuple[str, object], ...] = (
        ("memory.max", _or_max(limits.memory_bytes)),
        ("memory.swap.max", _swap(limits)),
        ("memory.low", limits.memory_reservation_bytes),
        ("cpu.max", _quota(limits)),
        ("cpu.weight", None if limits.cpu_shares is None else weight_from_shares(limits.cpu_shares)),
        ("cpuset.cpus", limits.cpuset_cpus),
        ("cpuset.mems", limits.cpuset_mems),
        ("pids.max", _or_max(limits.pids_limit)),
        *(("io.max", f"{major}:{minor} {kind}={rate}") for major, minor, kind, rate in limits.io),
        *limits.unified.items(),
    )
    return [(file, str(value)) for file, value in rows if value is not None]


def _or_max(value: int | None) -> object:
    return "max" if value is not None and value < 0 else value


def _quota(limits: Limits) -> str | None:
    quota = limits.cpu_quota_usec
    if quota is None:
        return None
    return f"{quota if quota > 0 else 'max'} {limits.cpu_period_usec or PERIOD_USEC}"


def _swap(limits: Limits) -> object:
    """memory.swap.max counts swap alone."""
    total, memory = limits.swap_total_bytes, limits.memory_bytes
    if total is None or total < 0:
        return _or_max(total)
    return max(0, total - memory) if memory is not None and memory >= 0 else None

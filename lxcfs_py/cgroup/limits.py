"""What a container is limited to, the same for v1 and v2, in the terms of OCI (config-linux.md)."""

from __future__ import annotations

from lxcfs_py.errors import Error
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

UNLIMITED = -1
SHARES = (2, 262144)
"""The least and the greatest of cpu.shares (kernel/sched: MIN_SHARES, MAX_SHARES)."""


class Limits(Record):
    """The limits of one cgroup; None is not asked for, -1 (``UNLIMITED``) asks for no limit."""

    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    swap_total_bytes: int | None = None
    """Memory and swap together."""
    cpu_quota_usec: int | None = None
    cpu_period_usec: int | None = None
    cpu_shares: int | None = None
    """0 is not asked for, as OCI has it."""
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_limit: int | None = None
    io: tuple[tuple[int, int, str, int], ...] = ()
    """Major, minor, one of rbps, wbps, riops, wiops, and the rate per second; a rate of 0 is unlimited."""
    unified: Mapping[str, str] = {}
    """Files of cgroup2 and what to write to them."""


def weight_from_shares(shares: int) -> int:
    """Return the cpu.weight (1 to 10000) of cpu.shares (2 to 262144; beyond counts as the nearest).

    Source: runtime-spec, config-linux.md and crun's cgroup-v2 table: 1 + (shares - 2) * 9999 / 262142.
    """
    least, most = SHARES
    return 1 + (min(max(shares, least), most) - least) * 9999 // (most - least)


def check(limits: Limits) -> None:
    """Raise an Error for limits that contradict each other: the kernel would only say EINVAL, or take them."""
    memory, total = limits.memory_bytes, limits.swap_total_bytes
    if total is not None and total >= 0:
        if memory is None or memory < 0:
            raise Error(f"memory and swap limited to {total} but memory is not", "limit memory too (-m)")
        if total < memory:
            raise Error(
                f"memory and swap limited to {total}, memory alone to {memory}",
                "--memory-swap counts memory and swap together: make it no less than -m",
            )
    for file in limits.unified:
        if "/" in file or "." not in file:
            raise Error(f"{file!r} is no file of a cgroup", "name it as memory.high")

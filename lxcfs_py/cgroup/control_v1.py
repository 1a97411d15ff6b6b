"""The writing half of cgroup v1 (Documentation/admin-guide/cgroup-v1)."""

from __future__ import annotations

import errno

from lxcfs_py.cgroup import control_files as files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.limits import Limits

MEMORY, MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
THROTTLE = {
    "rbps": "blkio.throttle.read_bps_device",
    "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device",
    "wiops": "blkio.throttle.write_iops_device",
}
CPUSET = ("cpuset.cpus", "cpuset.mems")


def writes(controller: str, limits: Limits) -> tuple[tuple[str, str], ...]:
    """Return the files of a controller and what to write to them, in the order for a new cgroup."""
    if controller == "io":
        return tuple((THROTTLE[kind], f"{major}:{minor} {rate}") for major, minor, kind, rate in limits.io)
    rows = {
        "memory": (
            (MEMORY, limits.memory_bytes),
            (MEMSW, limits.swap_total_bytes),
            ("memory.soft_limit_in_bytes", limits.memory_reservation_bytes),
        ),
        "cpu": (
            ("cpu.shares", limits.cpu_shares or None),
            ("cpu.cfs_period_us", limits.cpu_period_usec or None),
            ("cpu.cfs_quota_us", limits.cpu_quota_usec or None),
        ),
        "cpuset": ((CPUSET[0], limits.cpuset_cpus or None), (CPUSET[1], limits.cpuset_mems or None)),
        "pids": (("pids.max", _or_max(limits.pids_limit)),),
    }[controller]
    return tuple((file, str(value)) for file, value in rows if value is not None)


def _or_max(limit: int | None) -> str | int | None:
    return "max" if limit is not None and limit <= 0 else limit


def apply(directory: str, rows: tuple[tuple[str, str], ...]) -> None:
    """Write them; raises OSError.

    The kernel keeps memory at or below memory plus swap at all times: to raise both, the latter goes first.
    """
    total = dict(rows).get(MEMSW)
    for file, value in rows:
        try:
            files.write(f"{directory}/{file}", value)
        except OSError as error:
            if file != MEMORY or total is None or error.errno != errno.EINVAL:
                raise
            files.write(f"{directory}/{MEMSW}", total)
            files.write(f"{directory}/{file}", value)


def inherit(parent: str, directory: str) -> None:
    """Fill an empty cpuset from its parent, which comes first: no process can enter an empty one."""
    for file in CPUSET:
        if not files.read(f"{directory}/{file}").strip():
            files.write(f"{directory}/{file}", files.read(f"{parent}/{file}").strip())


def account_up(directory: str) -> None:
    """Have memory below a new cgroup count for it too: kernels before 5.11 ask for that."""
    try:
        files.write(f"{directory}/memory.use_hierarchy", "1")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL, errno.EBUSY):  # as it is already, or always is
            raise

"""The writing half of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import errno

from lxcfs_py.cgroup import control_files as files
from lxcfs_py.cgroup.limits import weight_from_shares
from lxcfs_py.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxcfs_py.cgroup.limits import Limits

SWAP = "memory.swap.max"


def writes(controller: str, limits: Limits) -> tuple[tuple[str, str], ...]:
    """Return the files of a controller and what to write to them, in order; ``limits`` are checked."""
    if controller == "io":
        return _io(limits)
    rows = {
        "memory": (
            ("memory.max", _or_max(limits.memory_bytes)),
            (SWAP, _swap(limits)),
            ("memory.low", _or_max(limits.memory_reservation_bytes)),
        ),
        "cpu": (
            ("cpu.weight", weight_from_shares(limits.cpu_shares) if limits.cpu_shares else None),
            ("cpu.max", _cpu_max(limits.cpu_quota_usec, limits.cpu_period_usec)),
        ),
        "cpuset": (("cpuset.cpus", limits.cpuset_cpus or None), ("cpuset.mems", limits.cpuset_mems or None)),
        "pids": (("pids.max", _or_max(-1 if limits.pids_limit == 0 else limits.pids_limit)),),
    }[controller]
    return tuple((file, str(value)) for file, value in rows if value is not None)


def _or_max(limit: int | None) -> str | int | None:
    return "max" if limit is not None and limit < 0 else limit


def _swap(limits: Limits) -> str | int | None:
    """Swap alone, as v2 counts: what the total leaves beside memory."""
    total = limits.swap_total_bytes
    if total is None or total < 0:
        return _or_max(total)
    return total - (limits.memory_bytes or 0)


def _cpu_max(quota: int | None, period: int | None) -> str | None:
    """Quota and period in one line; a quota alone leaves the period as it is."""
    if not quota and not period:
        return None
    first = str(quota) if quota and quota > 0 else "max"
    return f"{first} {period}" if period else first


def _io(limits: Limits) -> tuple[tuple[str, str], ...]:
    by_disk: dict[str, list[str]] = {}
    for major, minor, kind, rate in limits.io:
        by_disk.setdefault(f"{major}:{minor}", []).append(f"{kind}={rate or 'max'}")
    return tuple(("io.max", " ".join((disk, *rates))) for disk, rates in by_disk.items())


def enable(mount: str, path: str, needed: Iterable[str], wanted: Iterable[str]) -> None:
    """Have the ancestors of a cgroup hand controllers down to it.

    ``wanted`` ones are left out where they can't be had; a ``needed`` one that is missing is an Error. What
    is there already is read first: a write makes the kernel wait for cgroups that are just being removed.
    """
    names = path.strip("/").split("/")[:-1]
    for depth in range(len(names) + 1):
        directory = "/".join((mount, *names[:depth]))
        file = f"{directory}/cgroup.subtree_control"
        there = files.read(file).split()
        lacking = [each for each in needed if each not in there]
        extra = [each for each in wanted if each not in there and each not in lacking]
        if extra:
            try:
                files.write(file, " ".join(f"+{each}" for each in (*lacking, *extra)))
            except OSError:
                pass  # one of them may not be had: the needed ones say so below
            else:
                continue
        for each in lacking:
            _enable(directory, file, each)


def _enable(directory: str, file: str, controller: str) -> None:
    try:
        files.write(file, f"+{controller}")
    except OSError as error:
        what = f"the cgroup {directory} can't hand down its {controller} controller"
        if error.errno in (errno.ENOENT, errno.EINVAL):
            raise Error(
                f"{what}: it has none (cgroup.controllers)",
                f"leave out the limits of {controller}, or have the cgroup above it enable it",
            ) from error
        if error.errno == errno.EBUSY:
            raise Error(
                f"{what}: processes are in it", f"move them (see {directory}/cgroup.procs) to a child of it"
            ) from error
        raise files.failure(error, f"+{controller}") from error

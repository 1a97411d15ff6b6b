"""Other processes, by pid and start time together: a pid used again is never taken for who had it before.

And the pid namespaces they are in.
"""

from __future__ import annotations

import fcntl
import os

from lxcfs_py.procfs import pid_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxcfs_py.host import Host
    from lxcfs_py.procfs.pid_stat import PidStat

NS_GET_PARENT = 0xB702
"""ioctl_nsfs(2)."""


def stat(host: Host, pid: int) -> PidStat | None:
    """Return what /proc says of a process; None if there is none, or it can't be read."""
    try:
        with open(f"{host.proc}/{pid}/stat", "rb") as file:
            return pid_stat.parse(file.read())
    except OSError:
        return None


def alive(host: Host, pid: int, start_ticks: int) -> bool:
    """Say whether that very process runs; a zombie has ended."""
    found = stat(host, pid)
    return found is not None and found.start_ticks == start_ticks and found.state not in "XZx"


def numbers(host: Host, pid: int) -> tuple[int, ...]:
    """Return a thread's number in each pid namespace it is in, the outermost first; () if there is none."""
    from lxcfs_py.procfs import status  # a start has no use for it

    try:
        with open(f"{host.proc}/{pid}/status", "rb") as file:
            return status.pids(file.read())
    except OSError:
        return ()


def pid_namespaces(host: Host, pid: int) -> Iterator[int]:
    """Yield the inodes of its pid namespaces, its own first, then each one above, as far as we may look."""
    try:
        descriptor = os.open(f"{host.proc}/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it has ended, or is another user's
        return
    try:
        while True:
            yield os.fstat(descriptor).st_ino
            above = fcntl.ioctl(descriptor, NS_GET_PARENT)
            os.close(descriptor)
            descriptor = above
    except OSError:  # ours, the uppermost
        return
    finally:
        os.close(descriptor)

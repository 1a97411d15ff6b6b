"""Other processes, by pid and start time together: a pid used again is never taken for who had it before."""

from __future__ import annotations

from lxcfs_py.procfs import pid_stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.host import Host
    from lxcfs_py.procfs.pid_stat import PidStat


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

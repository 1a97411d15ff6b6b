"""proc/stat: the container's CPU time over the CPUs it sees; what is not known of it is 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.procfs import stat

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.cputime import Account, Times
    from lxcfs_py.reader import Reader

PATH = "proc/stat"
TICK_USEC = 1_000_000 // stat.USER_HZ


def _line(name: str, times: Times, columns: int) -> str:
    ticks = [str(usec // TICK_USEC) for usec in times] + ["0"] * columns
    return " ".join((name, *ticks[:columns]))


def render(host: bytes, account: Account, n: int, start_seconds: int) -> bytes:
    """Return the text with the host's lines and columns; ``start_seconds`` is since the machine's start."""
    lines = stat.parse(host)
    columns = next((len(line.columns) for line in lines if line.name == "cpu"), 10)
    found = [_line("cpu ", account.total, columns)]
    found += [_line(f"cpu{at}", account.cpus[at], columns) for at in range(n)]
    for line in lines:
        if line.name.startswith("cpu"):
            continue
        if line.name == "btime":
            found.append(f"btime {stat.btime_seconds(lines) + start_seconds}")
        else:
            found.append(" ".join((line.name, *("0" for _ in line.columns))))
    return "\n".join(found).encode() + b"\n"


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    n = len(reader.cpus(container))
    account = reader.account(container, n)
    return render(reader.host_bytes(PATH), account, n, container.start_nsec // 1_000_000_000)

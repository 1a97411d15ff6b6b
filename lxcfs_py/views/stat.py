"""proc/stat: the container's CPU time over the CPUs it sees; what is not known of it is 0."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from lxcfs_py.procfs import stat
from lxcfs_py.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxcfs_py.container import Container
    from lxcfs_py.cputime import Account
    from lxcfs_py.reader import Reader

PATH = "proc/stat"
TICK_USEC = 1_000_000 // stat.USER_HZ
AGE_SECONDS = 1.0
"""How old the host's text may be: of it come the names, the number of columns and btime; making it costs the
kernel a walk over all CPUs and interrupts."""

COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
START = ("proc/PID/stat:starttime", "proc/PID/timens_offsets:boottime")
"""Sources of a container's start: its first process's, or the zero of its time namespace."""
USED = Rule(
    "the cgroup's CPU time in the proportion user : system",
    v2=("cpu.stat:usage_usec", "cpu.stat:user_usec", "cpu.stat:system_usec"),
    v1=("cpuacct.usage", "cpuacct.stat:user", "cpuacct.stat:system"),
    unit="1/100 s",
)
IDLE = USED.replace(formula="N x the time since the container's start, less what was used", host=START)
UNKNOWN = Rule("0: not known of a cgroup")
LINES = {
    "cpu* user": USED.replace(formula=f"{USED.formula}, without nice"),
    "cpu* nice": USED.replace(formula="nice time, at most user", v2=("cpu.stat:nice_usec",), v1=()),
    "cpu* system": USED,
    "cpu* idle": IDLE,
    "cpu* *": Rule("0: not known of a cgroup; throttled time is idle", unit="1/100 s"),
    "btime": Rule("the machine's start and, since then, the container's", host=("proc/stat:LINE", *START), unit="s"),
    **dict.fromkeys(("intr", "ctxt", "processes", "procs_running", "procs_blocked", "softirq"), UNKNOWN),
}
"""Columns of cpu and cpuN, and lines."""


def rows(text: bytes, _cpus: Sequence[int]) -> dict[str, str]:
    """Return what ``explain`` shows of a text."""
    found: dict[str, str] = {}
    for line in stat.parse(text):
        columns = [column.decode("latin-1") for column in line.columns]
        if line.name.startswith("cpu"):
            found |= {f"{line.name} {name}": column for name, column in zip(COLUMNS, columns, strict=False)}
        else:
            found[line.name] = " ".join(columns)
    return found


class Shape(NamedTuple):
    """What the container's text has of the host's."""

    form: bytes
    """The text with a place for each number, first the CPUs', then btime."""
    columns: int
    """How many of a CPU's are known."""
    btimes: int
    """How many of the numbers are that, one but on odd hosts."""
    btime_seconds: int


@functools.lru_cache(8)
def shape(host: bytes, n: int) -> Shape:
    """Return the shape of a text for ``n`` CPUs."""
    lines = stat.parse(host)
    columns = next((len(line.columns) for line in lines if line.name == "cpu"), 10)
    known = min(columns, 4)
    cpu = " ".join([*("%d",) * known, *("0",) * (columns - known)])
    rest = [
        "btime %d" if line.name == "btime" else " ".join((line.name, *("0" for _ in line.columns)))
        for line in lines
        if not line.name.startswith("cpu") and line.name.isidentifier()
    ]
    text = "\n".join([f"cpu  {cpu}", *(f"cpu{at} {cpu}" for at in range(n)), *rest, ""])
    return Shape(text.encode(), known, rest.count("btime %d"), stat.btime_seconds(lines))


def render(host: bytes, account: Account, n: int, start_seconds: int) -> bytes:
    """Return the text with the host's lines and columns; ``start_seconds`` is since the machine's start."""
    form, columns, btimes, btime_seconds = shape(host, n)
    numbers = [usec // TICK_USEC for times in (account.total, *account.cpus[:n]) for usec in times[:columns]]
    return form % (*numbers, *(btime_seconds + start_seconds,) * btimes)


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    n = len(reader.cpus(container))
    account = reader.account(container, n)
    return render(reader.recent(PATH, AGE_SECONDS), account, n, container.start_nsec // 1_000_000_000)

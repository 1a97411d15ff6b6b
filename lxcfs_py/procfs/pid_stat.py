"""/proc/PID/stat: one process (proc_pid_stat(5))."""

from __future__ import annotations

from lxcfs_py.record import Record


class PidStat(Record):
    """What of it is used. ``start_ticks`` counts 1/100 s since the machine started (field 22)."""

    pid: int
    state: str
    ppid: int
    start_ticks: int


def parse(data: bytes) -> PidStat | None:
    """Return the process, None if the text is cut or garbled. The name may hold blanks and parentheses."""
    head, _, tail = data.rpartition(b")")
    pid, fields = head.partition(b" ")[0], tail.split()
    if len(fields) < 20 or len(fields[0]) != 1:
        return None
    if not all(number.isdigit() and len(number) < 25 for number in (pid, fields[1], fields[19])):
        return None
    return PidStat(int(pid), fields[0].decode("latin-1"), int(fields[1]), int(fields[19]))

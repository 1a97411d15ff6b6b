"""/proc/PID/status: a process by names (proc_pid_status(5))."""

from __future__ import annotations


def pids(data: bytes) -> tuple[int, ...]:
    """Return NSpid: the process's number in each pid namespace it is in, outermost first; () for none."""
    for line in data.split(b"\n"):
        if line.startswith(b"NSpid:"):
            words = line.split()[1:]
            return tuple(int(word) for word in words if word.isdigit() and len(word) < 12)
    return ()


def capabilities(data: bytes) -> int:
    """Return CapEff, a bit each effective capability; 0 where no line says so."""
    for line in data.split(b"\n"):
        if line.startswith(b"CapEff:"):
            try:
                return int(line.split(b":")[1], 16)
            except ValueError:
                return 0
    return 0

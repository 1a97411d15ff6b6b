"""/proc/PID/status: a process by names (proc_pid_status(5))."""

from __future__ import annotations


def pids(data: bytes) -> tuple[int, ...]:
    """Return NSpid: the process's number in each pid namespace it is in, outermost first; () for none."""
    for line in data.split(b"\n"):
        if line.startswith(b"NSpid:"):
            words = line.split()[1:]
            return tuple(int(word) for word in words if word.isdigit() and len(word) < 12)
    return ()


def effective(data: bytes) -> int:
    """Return CapEff, the set of effective capabilities as a mask (capabilities(7)); 0 for none."""
    for line in data.split(b"\n"):
        if line.startswith(b"CapEff:"):
            word = line[7:].strip()
            return int(word, 16) if len(word) <= 16 and all(c in b"0123456789abcdef" for c in word) and word else 0
    return 0

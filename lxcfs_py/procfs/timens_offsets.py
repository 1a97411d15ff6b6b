"""/proc/PID/timens_offsets: a time namespace's clocks against the machine's (time_namespaces(7))."""

from __future__ import annotations


def boottime_nsec(data: bytes) -> int:
    """Return what the namespace adds to CLOCK_BOOTTIME, 0 for none or where the text is garbled."""
    for line in data.split(b"\n"):
        words = line.split()
        if len(words) == 3 and words[0] in (b"boottime", b"7"):
            seconds, nanoseconds = words[1], words[2]
            digits = seconds.removeprefix(b"-")
            if digits.isdigit() and nanoseconds.isdigit() and max(len(digits), len(nanoseconds)) < 20:
                return int(seconds) * 1_000_000_000 + int(nanoseconds)
    return 0

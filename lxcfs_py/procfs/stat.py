"""/proc/stat: what the CPUs did since the start (Documentation/filesystems/proc.rst, 1.7)."""

from __future__ import annotations

from lxcfs_py.record import Record

USER_HZ = 100
"""Ticks a second, as userspace is always told (include/asm-generic/param.h)."""


class Line(Record):
    """One line: a name and its numbers, kept as text (intr has thousands)."""

    name: str
    columns: tuple[bytes, ...]


def parse(data: bytes) -> tuple[Line, ...]:
    """Return the lines in order; empty ones are left out."""
    found = []
    for line in data.split(b"\n"):
        words = line.split()
        if words:
            found.append(Line(words[0].decode("latin-1"), tuple(words[1:])))
    return tuple(found)


def btime_seconds(lines: tuple[Line, ...]) -> int:
    """Return when the machine started, in seconds since 1970; 0 where no line says so."""
    for line in lines:
        if line.name == "btime" and line.columns and line.columns[0].isdigit() and len(line.columns[0]) < 20:
            return int(line.columns[0])
    return 0

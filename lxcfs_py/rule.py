"""What a line of a served file says and where it comes from, in words: for ``explain`` and docs/semantics.md.

A source is a kernel file, ``NAME`` or ``NAME:KEY`` for one of its lines: of a cgroup by its bare name
(``memory.stat:anon``), of the host by its path (``proc/meminfo:LINE``; ``proc/PID/stat:starttime``, where PID is
the container's first process). LINE is the name of the line that the rule is of.
"""

from __future__ import annotations

from lxcfs_py.record import Record


class Rule(Record):
    """The rule of one line, or of all lines of one pattern."""

    formula: str
    v2: tuple[str, ...] = ()
    """Sources on cgroup2."""
    v1: tuple[str, ...] = ()
    """Sources on v1; none beside some of v2 means that v1 does not account for it: 0."""
    host: tuple[str, ...] = ()
    """Sources on any host."""
    least: bool = False
    """Say whether the smallest of several levels' and the host's value counts, so that one of them has decided."""
    sampled: bool = False
    """Say whether what counts is what the sources held when the daemon last took samples."""
    unit: str = ""
    """The unit, where the line itself names none."""

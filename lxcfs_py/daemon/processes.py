"""Which processes serve a session: a table in shared memory, for the supervisor that comes next and for its watch.

Two generations of workers have numbers of their own, so that one can follow the other without a gap.
"""

from __future__ import annotations

import mmap
import os
import struct

from lxcfs_py.record import Record

MOST_WORKERS = 64
FACTS_BYTES = 4096
"""Before the table there is what a session is (``session.Session``)."""
_TEMPLATE = struct.Struct("=3q")
_PID = struct.Struct("=q")
_PIDS_AT = FACTS_BYTES + 64
BYTES = _PIDS_AT + 2 * MOST_WORKERS * _PID.size


class Template(Record):
    """The process that keeps the workers running."""

    pid: int
    start_ticks: int
    first: int
    """The number of its first worker."""


class Processes:
    """The table; the template has one writer, and so has each worker's place."""

    def __init__(self, descriptor: int) -> None:
        os.ftruncate(descriptor, BYTES)
        self._map = mmap.mmap(descriptor, BYTES)

    def note_template(self, template: Template) -> None:
        """Enter the template."""
        _TEMPLATE.pack_into(self._map, FACTS_BYTES, template.pid, template.start_ticks, template.first)

    def template(self) -> Template:
        """Return the template that was entered last, pid 0 if none was."""
        return Template(*_TEMPLATE.unpack_from(self._map, FACTS_BYTES))

    def note_worker(self, number: int, pid: int) -> None:
        """Enter a worker, pid 0 for none."""
        _PID.pack_into(self._map, _PIDS_AT + _PID.size * number, pid)

    def workers(self) -> dict[int, int]:
        """Return the workers' pids by number."""
        pids = (_PID.unpack_from(self._map, _PIDS_AT + _PID.size * n)[0] for n in range(2 * MOST_WORKERS))
        return {number: pid for number, pid in enumerate(pids) if pid}

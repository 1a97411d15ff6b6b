"""Which processes serve a session: a table in shared memory, for the supervisor that comes next and for its watch.

There are two generations, so that one can follow the other without a gap: each has a template and numbers of its own
for its workers. A template holds its generation by a record lock as long as it lives (fcntl(2)). Nobody else sees to
what a generation's workers left behind: while one of them lives, what it notes of its request is its own.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

from lxcfs_py.record import Record

MOST_WORKERS = 64
FACTS_BYTES = 4096
"""Before the table there is what a session is (``session.Session``)."""
GENERATIONS = (0, 1)
_TEMPLATE = struct.Struct("=2q")
_PID = struct.Struct("=q")
_PIDS_AT = FACTS_BYTES + 64
BYTES = _PIDS_AT + 2 * MOST_WORKERS * _PID.size


class Template(Record):
    """The process that keeps the workers of a generation running."""

    pid: int
    start_ticks: int


class Processes:
    """The table; each entry has one writer."""

    def __init__(self, descriptor: int) -> None:
        os.ftruncate(descriptor, BYTES)
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, BYTES)

    def hold(self, generation: int) -> bool:
        """Hold a generation, at the most for as long as we live; return False if another process does."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, generation)
        except BlockingIOError:
            return False
        return True

    def let_go(self, generation: int) -> None:
        """Hold a generation no more."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, generation)

    def note_template(self, generation: int, template: Template) -> None:
        """Enter who holds a generation."""
        _TEMPLATE.pack_into(self._map, FACTS_BYTES + generation * _TEMPLATE.size, template.pid, template.start_ticks)

    def template(self, generation: int) -> Template:
        """Return the template that held a generation last, pid 0 for nobody."""
        return Template(*_TEMPLATE.unpack_from(self._map, FACTS_BYTES + generation * _TEMPLATE.size))

    def note_worker(self, number: int, pid: int) -> None:
        """Enter a worker, pid 0 for none."""
        _PID.pack_into(self._map, _PIDS_AT + _PID.size * number, pid)

    def workers(self) -> dict[int, int]:
        """Return the workers' pids by number."""
        pids = (_PID.unpack_from(self._map, _PIDS_AT + _PID.size * n)[0] for n in range(2 * MOST_WORKERS))
        return {number: pid for number, pid in enumerate(pids) if pid}

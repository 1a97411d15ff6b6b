"""What the supervisor hands to the process that its workers are forked from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lxcfs_py.fuse import protocol
from lxcfs_py.host import Host
from lxcfs_py.record import Record

if TYPE_CHECKING:
    from lxcfs_py.shared import Shared


class Task(Record):
    """What the supervisor hands over."""

    fuse: int
    memory: int
    table: int
    loads: int
    counters: int
    record: int
    messages: int
    triggers: int
    first: int
    """The number of the first worker; there are twice as many numbers as workers."""
    workers: int
    cpus: int
    init: protocol.Init
    relay: bool
    host: Host

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What of it are descriptors."""
        memory = self.memory, self.table, self.loads, self.counters, self.record
        return self.fuse, *memory, self.messages, self.triggers

    def shared(self) -> Shared:
        """Return the memory that all workers have in common."""
        from lxcfs_py.shared import Shared

        return Shared(self.memory, 2 * self.workers, self.cpus, protocol.REQUEST_BYTES)


def pack(task: Task) -> str:
    """Return a task as an argument."""
    return json.dumps({**task.as_dict(), "init": task.init.as_dict(), "host": task.host.as_dict()})


def unpack(word: str) -> Task:
    """Return the task of an argument."""
    found = json.loads(word)
    return Task(**{**found, "init": protocol.Init(**found["init"]), "host": Host(**found["host"])})

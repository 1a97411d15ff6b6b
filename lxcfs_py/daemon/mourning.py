"""What is seen to when workers have died: the requests they held, and open files that nobody can close."""

from __future__ import annotations

import errno
import os
import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from lxcfs_py.counters import Table
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.triggers import WRITER

if TYPE_CHECKING:
    from collections.abc import Collection

    from lxcfs_py.daemon.processes import Processes
    from lxcfs_py.daemon.task import Task

ENDING_SECONDS = 1.0
"""How long a worker that was killed may take to end; until then the kernel may still give it a request."""


def mourn_generation(task: Task, processes: Processes, generation: int) -> None:
    """See to the workers that died with their template, or were killed with it; the generation must be held."""
    first = generation * task.workers
    dead = {n: pid for n, pid in processes.workers().items() if first <= n < first + task.workers}
    deadline = time.monotonic() + ENDING_SECONDS
    for pid in dead.values():
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            try:
                ended = select.poll()  # select(2) takes no descriptor above 1023
                ended.register(pidfd, select.POLLIN)
                ended.poll(max(0.0, deadline - time.monotonic()) * 1000)
            finally:
                os.close(pidfd)
    if dead:
        mourn(task, tuple(dead))
    for number in dead:  # not before: if we die now, they are mourned by whoever comes
        processes.note_worker(number, 0)


def mourn(task: Task, numbers: Collection[int]) -> None:
    """See to the requests that dead workers held: the kernel asks again, or they get an error (design of the relay).

    And to the open files whose handles the kernel was not told, because the answer was lost: a dead worker's, and
    when the kernel asks all requests again, those of the workers that were just then at one of them.
    """
    shared, table, now_nsec = task.shared(), Table(task.counters, 2 * task.workers), time.monotonic_ns()
    since = [table.request(number).since_nsec or now_nsec for number in range(table.workers)]
    if task.relay:
        for number in numbers:
            slot = shared.relay(number)
            opcode, unique, *_ = protocol.asked(slot)
            unanswered = unique and _write(task.fuse, protocol.error(unique, errno.EIO))
            slot[: protocol.UNIQUE_OFFSET + 8] = bytes(protocol.UNIQUE_OFFSET + 8)  # not before: we may be killed
            if unanswered and opcode == protocol.RELEASE:  # the kernel does not say twice that a file is closed
                shared.release(protocol.handle(slot) & ~WRITER)
            if unanswered and (taken := shared.took(number, since[number])) >= 0:
                shared.untake(taken)
    else:
        ask_again(task)
        for number in range(table.workers):
            if (taken := shared.took(number, since[number])) >= 0:
                shared.doubt(taken)
    shared.reclaim(lambda tid: not tid or os.path.exists(f"{task.host.proc}/{tid}"))


def ask_again(task: Task) -> None:
    """Have the kernel ask all unanswered requests again."""
    _write(task.fuse, protocol.resend())


def _write(fuse: int, answer: bytes) -> bool:
    """Answer the kernel; return False if nobody waits for that, or the mount is gone."""
    try:
        os.write(fuse, answer)
    except OSError:
        return False
    return True

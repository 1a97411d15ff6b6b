"""Looks after those who serve: one that is stopped, or hangs at a request, is killed, and another takes its place."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from lxcfs_py import log, process
from lxcfs_py.counters import OPCODES, Request
from lxcfs_py.fuse import protocol
from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxcfs_py.counters import Table
    from lxcfs_py.daemon.session import Session
    from lxcfs_py.host import Host

LOOK_SECONDS = 0.2
"""Between two looks. What is counted is looks: a clock goes on while all of us stand still."""
AWAY_NSEC = 1_000_000_000
"""After so long without a look nobody ran, perhaps, and those before it say nothing."""
LOOKS = 3
"""Who sleeps at one request for so many looks waits for what does not come: an answer's locks and reads take
milliseconds. Who is stopped for so many is not being traced in passing."""
FROZEN_LOOKS = 5
"""Who waits for a request sleeps as S: who is at none and D for so many looks is held."""
HELD_LOOKS = 15
"""At a request D may be the kernel's own locks, or its want of memory, which pass."""
LONGEST_LOOKS = 60
"""Who would run if it were let (the machine may be very busy), or waits for the supervisor, has so many."""
PATIENT = OPCODES["write"], OPCODES["poll"]
"""Requests at which the supervisor is waited for (``fuse.triggers.TIMEOUT_SECONDS``)."""
DYING_NSEC = 500_000_000
"""Who is D so long after SIGKILL is held by the kernel; its template, killed, makes way for another one."""
MOST_HUNG = 256
"""Of how many requests, the latest, is remembered that somebody was killed at them."""


class Look(Record):
    """What one look at a worker, or a template, which answers nothing, sees, and how many in a row saw the same."""

    pid: int
    state: str
    """proc_pid_stat(5)'s."""
    template: int
    """Its template's pid."""
    number: int = -1
    """The worker's."""
    request: Request = Request()
    same: int = 1
    """Looks in a row, with this one, that found it at the same request, or at none and having answered none."""
    alike: int = 1
    """Those of them, with this one, in a row that found it in the same state."""

    @property
    def subject(self) -> str:
        """What it is in the log."""
        return "template" if self.number < 0 else f"worker {self.number}"

    def after(self, before: Look | None) -> Look:
        """Return this look, counted."""
        if before is None or before.request != self.request:
            return self
        return self.replace(same=before.same + 1, alike=before.alike + 1 if before.state == self.state else 1)


def verdict(look: Look) -> str:
    """Say why a process must be replaced, "" if it need not."""
    if look.state in "Tt":
        return "is stopped" if look.alike >= LOOKS else ""
    if not look.request.since_nsec:
        return "is frozen" if look.state == "D" and look.alike >= FROZEN_LOOKS else ""
    own = {"S": LOOKS, "D": HELD_LOOKS} if look.request.opcode not in PATIENT else {}
    hangs = look.alike >= own.get(look.state, LONGEST_LOOKS) or look.same >= LONGEST_LOOKS
    return f"hangs at a request for {look.same * LOOK_SECONDS:.1f} s" if hangs else ""


async def replace(host: Host, session: Session, table: Table) -> None:
    """Kill who must be replaced, and answer what a second one hangs at: else it would be asked for ever."""
    before: dict[int, Look] = {}
    killed_nsec: dict[int, int] = {}
    hung: deque[int] = deque(maxlen=MOST_HUNG)
    last_nsec, limiter = time.monotonic_ns(), log.Limiter()

    def kill(pid: int, subject: str, why: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            limiter.write(log.Line(why, subject=subject, pid=pid))

    while True:
        await trio.sleep(LOOK_SECONDS)
        now_nsec = time.monotonic_ns()
        if now_nsec - last_nsec > AWAY_NSEC:
            before = {}
        last_nsec = now_nsec
        found = {look.pid: look.after(before.get(look.pid)) for look in _looks(host, session, table)}
        killed_nsec = {pid: since for pid, since in killed_nsec.items() if pid in found}
        for pid, look in found.items():
            if pid in killed_nsec:
                if look.state == "D" and now_nsec - killed_nsec[pid] > DYING_NSEC:
                    kill(look.template, look.subject, f"process {pid} does not die: its template is killed")
            elif why := verdict(look):
                killed_nsec[pid] = now_nsec
                if look.request.since_nsec:
                    give_up(session.descriptors["fuse"], table, look, hung)
                kill(pid, look.subject, f"{why}: killed, another one takes its place")
        before = found


def give_up(fuse: int, table: Table, look: Look, hung: deque[int]) -> None:
    """Note at which request a worker is killed; if one was killed at it before, and it is at it still, answer it."""
    unique = look.request.unique
    if unique & ~protocol.RESENT not in hung:
        hung.append(unique & ~protocol.RESENT)
    elif table.request(look.number) == look.request:
        with suppress(OSError):  # it has just been answered
            os.write(fuse, protocol.error(unique, errno.EIO))


def _looks(host: Host, session: Session, table: Table) -> Iterator[Look]:
    """Yield what is seen of each template and worker; a number that is somebody else's by now is none."""
    templates = session.templates(host)
    for each in templates.values():
        if (found := process.stat(host, each.pid)) is not None:
            yield Look(each.pid, found.state, each.pid)
    for number, pid in session.processes.workers().items():
        template, found = templates.get(number // session.workers), process.stat(host, pid)
        if template is not None and found is not None and found.ppid == template.pid and found.state not in "XZx":
            yield Look(pid, found.state, template.pid, number, table.request(number))

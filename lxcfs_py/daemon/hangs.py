"""Looks after those who serve: one that is stopped, or hangs at a request, is killed, and another takes its place."""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from lxcfs_py import log, process
from lxcfs_py.counters import OPCODES
from lxcfs_py.fuse import protocol
from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxcfs_py.counters import Table
    from lxcfs_py.daemon.session import Session
    from lxcfs_py.host import Host

LOOK_SECONDS = 0.2
"""Between two looks: what only one of them sees may be over."""
ASLEEP_NSEC = 400_000_000
"""Who sleeps so long at one request waits for what does not come: an answer's locks and reads take milliseconds."""
LONGEST_NSEC = 12_000_000_000
"""Who would run if it were let (the machine may be very busy), or waits for the supervisor, has so long."""
PATIENT = OPCODES["write"], OPCODES["poll"]
"""Requests at which the supervisor is waited for (``fuse.triggers.TIMEOUT_SECONDS``)."""
DYING_NSEC = 500_000_000
"""Who still lives so long after SIGKILL is held by the kernel; its template, killed, makes way for another one."""


class Look(Record):
    """What one look at a worker or a template, which answers nothing, sees. Times are CLOCK_MONOTONIC's."""

    pid: int
    state: str
    """proc_pid_stat(5)'s."""
    template: int
    """Its template's pid."""
    busy_since_nsec: int = 0
    opcode: int = 0
    unique: int = 0


def verdict(before: Look | None, now: Look, now_nsec: int) -> str:
    """Say why a process must be replaced, "" if it need not, by two looks."""
    if before is None or before.busy_since_nsec != now.busy_since_nsec:
        return ""
    states, age_nsec = before.state + now.state, now_nsec - now.busy_since_nsec
    if not set(states) - set("Tt"):
        return "is stopped"
    if not now.busy_since_nsec:
        return "is frozen" if states == "DD" else ""  # who waits for a request sleeps as S
    asleep = not set(states) - set("SD") and now.opcode not in PATIENT
    return f"hangs at a request for {age_nsec / 1e9:.2f} s" if age_nsec > (LONGEST_NSEC, ASLEEP_NSEC)[asleep] else ""


async def replace(host: Host, session: Session, table: Table) -> None:
    """Kill who must be replaced, and answer what a second one hangs at: else it would be asked for ever."""
    before: dict[int, Look] = {}
    killed_nsec: dict[int, int] = {}
    while True:
        await trio.sleep(LOOK_SECONDS)
        now_nsec = time.monotonic_ns()
        found = {look.pid: look for look in _looks(host, session, table)}
        killed_nsec = {pid: since for pid, since in killed_nsec.items() if pid in found}
        for pid, look in found.items():
            if pid in killed_nsec:
                if now_nsec - killed_nsec[pid] > DYING_NSEC:
                    _kill(look.template, f"process {pid} does not die: its template is killed")
            elif why := verdict(before.get(pid), look, now_nsec):
                killed_nsec[pid] = now_nsec
                if look.busy_since_nsec and look.unique & protocol.RESENT:
                    with suppress(OSError):  # it has just been answered
                        os.write(session.descriptors["fuse"], protocol.error(look.unique, errno.EIO))
                _kill(pid, f"process {pid} {why}: killed, another one takes its place")
        before = found


def _kill(pid: int, why: str) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        log.write(why)


def _looks(host: Host, session: Session, table: Table) -> Iterator[Look]:
    """Yield what is seen of each template and worker; a number that is somebody else's by now is none."""
    templates = session.templates(host)
    for each in templates.values():
        if (found := process.stat(host, each.pid)) is not None:
            yield Look(each.pid, found.state, each.pid)
    for number, pid in session.processes.workers().items():
        template, found = templates.get(number // session.workers), process.stat(host, pid)
        if template is not None and found is not None and found.ppid == template.pid and found.state not in "XZx":
            yield Look(pid, found.state, template.pid, *table.request(number))

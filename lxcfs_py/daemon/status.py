"""What the daemon says of itself: gathered by the supervisor, as plain data for JSON."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import trio

from lxcfs_py import __version__, counters, log, process
from lxcfs_py import container as containers
from lxcfs_py.counters import Times
from lxcfs_py.files import Files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lxcfs_py.container import Container
    from lxcfs_py.counters import Table, Worker
    from lxcfs_py.daemon.session import Session
    from lxcfs_py.daemon.triggers import Service
    from lxcfs_py.host import Host
    from lxcfs_py.seccomp.keeper import Keeper

FRESH_SECONDS = 0.5
"""Whoever asks within this time gets the same answer: asking often costs nothing."""


def worker(found: Worker, state: str, now_nsec: int) -> dict[str, Any]:
    """Return one worker; ``state`` is its process's (proc_pid_stat(5)), "" if it has ended."""
    busy = found.busy_since_nsec
    alive = "stopped" if state in ("T", "t") else "busy" if busy else "idle"
    return {
        "number": found.number,
        "pid": found.pid,
        "age_seconds": max(0, now_nsec - found.started_nsec) / 1e9 if found.pid else 0.0,
        "starts": found.starts,
        "state": alive if state else "ended",
        "operation": found.operation if busy else "",
        "busy_usec": max(0, now_nsec - busy) // 1000 if busy else 0,
        "requests": found.requests,
        "errors": found.errors,
        "fallbacks": found.fallbacks,
    }


def times(found: Times) -> dict[str, Any]:
    """Return one file's latencies."""
    return {
        "count": found.count,
        "p50_usec": found.quantile_usec(0.5),
        "p99_usec": found.quantile_usec(0.99),
        "max_usec": found.max_nsec / 1000,
        "sum_usec": found.sum_nsec / 1000,
        "buckets": list(found.buckets),
    }


def reads(workers: Sequence[Worker], registered: Mapping[str, Container]) -> dict[str, Any]:
    """Return who has read how much: registered containers by id, all others together, the host."""
    total: dict[bytes, int] = {}
    for each in workers:
        for key, count in each.cells.items():
            total[key] = total.get(key, 0) + count
    rows = [
        {"id": id_, "init_pid": found.init_pid, "reads": total.pop(counters.digest(found.key), 0)}
        for id_, found in registered.items()
    ]
    others = {"containers": len(total), "reads": sum(total.values())}
    return {"containers": rows, "others": others, "host_reads": sum(each.host_reads for each in workers)}


class Status:
    """Gathers it; ``get`` is what the control socket and the metrics call."""

    def __init__(self, host: Host, session: Session, table: Table, keeper: Keeper, triggers: Service) -> None:
        self._host, self._session, self._table = host, session, table
        self._keeper, self._triggers = keeper, triggers
        self._files = Files(1)
        self._lock = trio.Lock()
        self._made: tuple[float, dict[str, Any]] = 0.0, {}

    async def get(self) -> dict[str, Any]:
        """Return all of it, at most ``FRESH_SECONDS`` old."""
        async with self._lock:
            since, found = self._made
            if not found or time.monotonic() - since > FRESH_SECONDS:
                found = await trio.to_thread.run_sync(self._gather)  # a thousand registrations take a while
                self._made = time.monotonic(), found
            return found

    def _gather(self) -> dict[str, Any]:
        rows = [self._table.worker(number) for number in range(self._table.workers)]
        written, left_out = log.counts()
        now_nsec = time.monotonic_ns()
        return {
            "version": __version__,
            "mountpoint": self._session.mountpoint,
            "supervisor": self._process(os.getpid()),
            "agent": self._process(self._keeper.agent_pid),
            "workers": [
                worker(row, self._state(row.pid), now_nsec)
                for number, row in enumerate(rows)
                if number in self._session.processes.workers()
            ],
            "files": {name: times(sum_of([row.files[name] for row in rows])) for name in counters.NAMES},
            **reads(rows, containers.registered(self._host, self._files)),
            "seccomp_listeners": self._keeper.listeners,
            "triggers": self._triggers.count,
            "log": {"written": written, "left_out": left_out},
        }

    def _state(self, pid: int) -> str:
        found = process.stat(self._host, pid) if pid else None
        return "" if found is None or found.state in "XZx" else found.state

    def _process(self, pid: int) -> dict[str, Any] | None:
        found = process.stat(self._host, pid) if pid else None
        if found is None:
            return None
        age_nsec = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - found.start_ticks * containers.TICK_NSEC
        return {"pid": pid, "age_seconds": max(0, age_nsec) / 1e9}


def sum_of(found: Sequence[Times]) -> Times:
    """Return the times of several workers together."""
    whole = Times()
    for each in found:
        whole = whole.plus(each)
    return whole

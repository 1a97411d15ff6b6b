"""Samples every container's running and uninterruptible tasks, every five seconds.

A container none of whose tasks has run since the last sample has the same states as then, and costs one read.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING, NamedTuple

import trio

from lxcfs_py import container as containers
from lxcfs_py import log, process, registry
from lxcfs_py.cgroup import Cgroups
from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.loads import AS_HOST, EVERY_NSEC, PLACES, REGISTERED, Loads, advance

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from lxcfs_py.host import Host
    from lxcfs_py.loads import Entry

LOOK_ROUNDS = 12
"""Every so many rounds tasks are looked at even where none has run: one may have been moved in."""
UNREAD_NSEC = 600_000_000_000
"""A container that is not registered is sampled for so long after it was last asked about."""
CHUNK = 64
"""Tasks looked at in one go."""
SLICE_SECONDS = 0.002
"""CPU time used at once; then the supervisor's other tasks have their turn."""
SHARE, BURST_SECONDS = 1 / 60, 0.25
"""The share of one CPU that sampling may use, and what it may use ahead. Where a round then takes more than five
seconds, a sample counts for those that were missed (``loads.advance``)."""


class Count(NamedTuple):
    """What was seen of a container's tasks."""

    entry: Entry
    activity: bytes | None = None
    running: int = 0
    uninterruptible: int = 0
    total: int = 0
    newest: int = 0
    last_pid: int = 0
    depth: int | None = None
    """How many pid namespaces the container's is below ours; None while it is not known."""


class Sampler:
    """Looks at the containers of the table and of the registry, and keeps the table's loads up."""

    def __init__(self, host: Host, loads: Loads) -> None:
        self._host, self._loads = host, loads
        most = min(
            PLACES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        )  # those of containers that went stay open
        self._files = Files(max(64, most))
        self._once = Files(1)
        self._cgroups = Cgroups(host, self._files)
        self._counts: dict[int, Count] = {}
        self._registered: dict[str, tuple[tuple[int, int] | None, int]] = {}
        """By id: which file it was read from (None: to be read again), and its place, -1 for none."""
        self._limiter = log.Limiter()
        self._rounds = 0

    def round(self) -> Iterator[None]:
        """Sample each container once; yields often, so that the caller can rest."""
        self._rounds += 1
        try:
            yield from self._see_registrations()
        except Exception as error:  # noqa: BLE001  (the next round tries again)
            self._tell("registrations", error)
        for place in self._loads.places():
            try:
                yield from self._sample(place)
            except Exception as error:  # noqa: BLE001  (the others are sampled all the same)
                self._tell(f"place {place}", error)
            yield

    def _tell(self, what: str, error: Exception) -> None:
        self._limiter.write(log.Line(log.cause(error), what, "loadavg"))

    def _see_registrations(self) -> Iterator[None]:
        """Put those that are new in the table, and take out those that are no more."""
        stamps = _stamps(registry.directory(self._host))
        for id_ in self._registered.keys() - stamps.keys():
            self._remove(self._registered.pop(id_)[1])
        for id_, stamp in stamps.items():
            known, old = self._registered.get(id_, (None, -1))
            if known == stamp:
                continue
            try:
                container = containers.by_registration(self._host, self._once, id_)
                place = self._loads.add(container, REGISTERED)
                full = place < 0
            except Error as error:  # its container has ended, or it can't be trusted: nobody else would say so
                place, full = -1, False
                if isinstance(error, registry.RefusedError):
                    log.write(f"refused: {error}")
            if place != old:
                self._remove(old)
            self._registered[id_] = None if full else stamp, place
            yield

    def _remove(self, place: int) -> None:
        if place >= 0:
            self._loads.remove(place)
            self._counts.pop(place, None)

    def _sample(self, place: int) -> Iterator[None]:
        count = self._counts.get(place)
        if count is None or count.entry.owner != self._loads.owner(place):
            count = Count(self._loads.entry(place))
        activity = self._cgroups.activity(count.entry.container.cgroup)
        if activity is None or activity != count.activity or (self._rounds + place) % LOOK_ROUNDS == 0:
            count = yield from self._look(count, activity)
        self._counts[place] = count
        now_nsec = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        unread_nsec = self._loads.unread_nsec(place, now_nsec)
        if unread_nsec and (unread_nsec > UNREAD_NSEC or (activity is None and not count.total)):
            self._remove(place)
            return
        load = advance(self._loads.at(place), now_nsec, count.running + count.uninterruptible)
        self._loads.store(place, load._replace(running=count.running, total=count.total, last_pid=count.last_pid))

    def _look(self, before: Count, activity: bytes | None) -> Generator[None, None, Count]:
        """Return a new count; yields in between."""
        container = before.entry.container
        threads = self._cgroups.threads(container.cgroup)
        states = b""
        for at in range(0, len(threads), CHUNK):
            if at:
                yield
            states += b"".join(map(self._state, threads[at : at + CHUNK]))
        newest, last_pid, depth = max(threads, default=0), before.last_pid, before.depth
        if depth is None and (numbers := process.numbers(self._host, container.init_pid)):
            depth = len(numbers) - 1
        if depth == 0:
            last_pid = AS_HOST
        elif depth and newest != before.newest:
            last_pid = max((last_pid, *process.numbers(self._host, newest)[depth : depth + 1]))
        counts = states.count(b"R"), states.count(b"D"), len(threads)
        return Count(before.entry, activity, *counts, newest, last_pid, depth)

    def _state(self, thread: int) -> bytes:
        """Return a thread's state, one letter (proc_pid_stat(5)); nothing if it has ended.

        Not kept open: seq_file would hold a page for each of all tasks of the machine.
        """
        try:
            descriptor = os.open(f"{self._host.proc}/{thread}/task/{thread}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(descriptor, 128).rpartition(b") ")[2][:1]
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def _stamps(directory: str) -> dict[str, tuple[int, int]]:
    """Return what tells each registration's file from one that replaces it; raises OSError."""
    found = {}
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    try:
                        found[entry.name[:-5]] = entry.inode(), entry.stat(follow_symlinks=False).st_mtime_ns
                    except FileNotFoundError:  # removed meanwhile
                        continue
    except FileNotFoundError:  # nobody has ever registered
        pass
    return found


class Budget:
    """CPU time that may be used; clocks are handed in."""

    def __init__(self, now: float) -> None:
        self._credit, self._since = BURST_SECONDS, now

    def rest(self, now: float, spent: float) -> float:
        """Return for how long to rest after so much CPU time was spent, all in seconds."""
        self._credit = min(BURST_SECONDS, self._credit + (now - self._since) * SHARE) - spent
        self._since = now
        return max(SLICE_SECONDS, -self._credit / SHARE)


async def sample(host: Host, loads: Loads) -> None:
    """Sample for ever."""
    sampler, budget = Sampler(host, loads), Budget(time.monotonic())
    while True:
        began, since = time.monotonic(), time.thread_time()
        for _ in sampler.round():
            if (spent := time.thread_time() - since) > SLICE_SECONDS:
                await trio.sleep(budget.rest(time.monotonic(), spent))
                since = time.thread_time()
        await trio.sleep(budget.rest(time.monotonic(), time.thread_time() - since))
        await trio.sleep(max(0.0, EVERY_NSEC / 1e9 - (time.monotonic() - began)))

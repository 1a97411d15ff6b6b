"""Samples every container's running and uninterruptible tasks, every five seconds.

A container none of whose tasks has run since the last sample has the same states as then, and costs one read.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING

import trio

from lxcfs_py import container as containers
from lxcfs_py import registry
from lxcfs_py.cgroup import Cgroups
from lxcfs_py.daemon import log
from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.loads import AS_HOST, EVERY_NSEC, REGISTERED, Loads, advance
from lxcfs_py.procfs import status
from lxcfs_py.record import Record

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
SLICE_SECONDS, REST = 0.002, 9
"""So long is sampled at once, and nine times as long is rested: never more than a tenth of a CPU."""


class Count(Record):
    """What was seen of a container's tasks."""

    key: str
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
        self._files = Files(max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))
        self._cgroups = Cgroups(host, self._files)
        self._counts: dict[int, Count] = {}
        self._registered: dict[str, tuple[tuple[int, int], int]] = {}
        self._limiter = log.Limiter()
        self._rounds = 0

    def round(self) -> Iterator[None]:
        """Sample each container once; yields often, so that the caller can rest."""
        self._rounds += 1
        try:
            self._see_registrations()
        except Exception as error:  # noqa: BLE001  (the next round tries again)
            self._tell("registrations", error)
        yield
        for entry in self._loads.entries():
            try:
                yield from self._sample(entry)
            except Exception as error:  # noqa: BLE001  (the others are sampled all the same)
                self._tell(entry.container.key, error)
            yield

    def _tell(self, what: str, error: Exception) -> None:
        if line := self._limiter.line(f"{what} loadavg: {log.cause(error)}"):
            log.write(line)

    def _see_registrations(self) -> None:
        """Put those that are new in the table, and take out those that are no more."""
        try:
            with os.scandir(registry.directory(self._host)) as found:
                stamps = {e.name[:-5]: (e.inode(), e.stat().st_mtime_ns) for e in found if e.name.endswith(".json")}
        except OSError:
            stamps = {}
        for id_, (stamp, place) in list(self._registered.items()):
            if stamps.get(id_) != stamp:
                self._remove(place)
                del self._registered[id_]
        for id_ in stamps.keys() - self._registered.keys():
            try:
                found_one = containers.by_registration(self._host, self._files, id_)
            except Error:
                continue
            if (place := self._loads.add(found_one, REGISTERED)) >= 0:
                self._registered[id_] = stamps[id_], place

    def _remove(self, place: int) -> None:
        self._loads.remove(place)
        self._counts.pop(place, None)

    def _sample(self, entry: Entry) -> Iterator[None]:
        key, place = entry.container.key, entry.place
        before = self._counts.get(place)
        if before is None or before.key != key:
            before = Count(key)
        activity = self._cgroups.activity(entry.container.cgroup)
        now_nsec = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        look = activity is None or activity != before.activity or (self._rounds + hash(key)) % LOOK_ROUNDS == 0
        after = (yield from self._look(entry, before, activity)) if look else before
        forgotten = (activity is None and not after.total) or now_nsec - entry.read_nsec > UNREAD_NSEC
        if forgotten and not entry.registered:
            self._remove(place)
            return
        self._counts[place] = after
        load = advance(self._loads.at(place), now_nsec, after.running + after.uninterruptible)
        self._loads.store(place, load.replace(running=after.running, total=after.total, last_pid=after.last_pid))

    def _look(self, entry: Entry, before: Count, activity: bytes | None) -> Generator[None, None, Count]:
        """Return a new count; yields in between."""
        threads = self._cgroups.threads(entry.container.cgroup)
        states = b""
        for at in range(0, len(threads), CHUNK):
            if at:
                yield
            states += b"".join(map(self._state, threads[at : at + CHUNK]))
        newest, last_pid, depth = max(threads, default=0), before.last_pid, before.depth
        if depth is None and (numbers := self._numbers(entry.container.init_pid)):
            depth = len(numbers) - 1
        if depth == 0:
            last_pid = AS_HOST
        elif depth and newest != before.newest:
            last_pid = max((last_pid, *self._numbers(newest)[depth : depth + 1]))
        counts = states.count(b"R"), states.count(b"D"), len(threads)
        return Count(before.key, activity, *counts, newest, last_pid, depth)

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

    def _numbers(self, pid: int) -> tuple[int, ...]:
        """Return a thread's number in each pid namespace."""
        try:
            with open(f"{self._host.proc}/{pid}/status", "rb") as file:
                return status.pids(file.read())
        except OSError:
            return ()


async def sample(host: Host, loads: Loads) -> None:
    """Sample for ever."""
    sampler = Sampler(host, loads)
    while True:
        began = time.monotonic()
        since = began
        for _ in sampler.round():
            if (spent := time.monotonic() - since) > SLICE_SECONDS:
                await trio.sleep(spent * REST)
                since = time.monotonic()
        await trio.sleep(max(0.0, EVERY_NSEC / 1e9 - (time.monotonic() - began)))

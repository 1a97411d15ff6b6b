"""Load averages: the kernel's arithmetic, and the table in which one process keeps them for all that serve.

The sampler alone writes averages, each into the copy that is not valid, which one byte then makes valid. Whoever
serves a container that is not there yet adds it, under a record lock (fcntl(2): the kernel drops a dead process's).
"""

from __future__ import annotations

import fcntl
import marshal
import mmap
import os
import struct
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from lxcfs_py import announcement
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container, digest

if TYPE_CHECKING:
    from lxcfs_py.host import Host

FSHIFT = 11
FIXED_1 = 1 << FSHIFT
EXPONENTS = (1884, 2014, 2037)
"""1/exp(5 s / 1, 5 and 15 min) in fixed point (include/linux/sched/loadavg.h)."""
EVERY_NSEC = 5_000_000_000
"""Between two samples (LOAD_FREQ)."""
AS_HOST = -1
"""The last pid of a container in the host's pid namespace."""
MOST_STEPS = 1000
"""More have no effect: all that was there before has faded (83 min)."""


class Load(NamedTuple):
    """One container's load at its last sample."""

    sampled_nsec: int
    """CLOCK_BOOTTIME up to which the averages count."""
    averages: tuple[int, int, int] = (0, 0, 0)
    """Over 1, 5 and 15 minutes, times ``FIXED_1``."""
    running: int = 0
    total: int = 0
    last_pid: int = 0
    """0 while it is not known."""


def calc_load(load: int, exponent: int, active: int) -> int:
    """Return the next average (kernel/sched/loadavg.c and its header, calc_load); ``active`` in tasks."""
    grown = load * exponent + active * FIXED_1 * (FIXED_1 - exponent)
    if active * FIXED_1 >= load:
        grown += FIXED_1 - 1
    return grown // FIXED_1


def advance(load: Load, now_nsec: int, active: int) -> Load:
    """Return the load with as many samples of ``active`` tasks as are due; a late sample counts for those missed."""
    steps = max(0, now_nsec - load.sampled_nsec + EVERY_NSEC // 2) // EVERY_NSEC
    one, five, fifteen = load.averages
    for _ in range(min(steps, MOST_STEPS)):
        one = calc_load(one, EXPONENTS[0], active)
        five = calc_load(five, EXPONENTS[1], active)
        fifteen = calc_load(fifteen, EXPONENTS[2], active)
    return load._replace(sampled_nsec=load.sampled_nsec + steps * EVERY_NSEC, averages=(one, five, fifteen))


class LoadStore(Protocol):
    """Knows the loads."""

    def load(self, container: Container) -> Load:
        """Return a container's load; one that was never asked for starts at 0 and is sampled from now on."""


class NoLoads:
    """Where nobody samples."""

    def load(self, container: Container) -> Load:  # noqa: ARG002
        """See ``LoadStore``."""
        return Load(0)


LAYOUT = 1
"""Of the table."""
PLACES = 8192
"""The memory begins with a byte for each that says who put a container there, 0 for nobody: whoever looks through
them touches no page of those that are free."""
PROBES = 32
PLACE_BYTES = 2048
_HEAD = struct.Struct("=16sB3xIq")
"""Whose it is, which copy is valid, length of what is known, when it was last read."""
_COPY = struct.Struct("=7q")
_ABOUT = _HEAD.size + 2 * _COPY.size
ASKED, REGISTERED = 1, 2
KEPT = ("", "pids", "memory", "cpu", "cpuacct")
"""The hierarchies whose paths a sampler may need."""


class Entry(NamedTuple):
    """One container of the table."""

    owner: bytes
    """Different for every container."""
    container: Container


class Loads:
    """The table: a ``LoadStore``."""

    def __init__(self, descriptor: int) -> None:
        size = _at(PLACES)
        os.ftruncate(descriptor, size)
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, size)

    def load(self, container: Container) -> Load:
        """See ``LoadStore``; 0 for a container that there is no place for."""
        place = self.add(container)
        if place < 0:
            return Load(0)
        struct.pack_into("=q", self._map, _at(place) + 24, _now())
        return self.at(place)

    def add(self, container: Container, by: int = ASKED) -> int:
        """Return the place of a container, a new one if it has none; -1 if there is no room."""
        name = digest(container.key)
        place = self._find(name, free=False)
        if place < 0:
            paths = {name: container.cgroup.paths[name] for name in KEPT if name in container.cgroup.paths}
            about = marshal.dumps((container.key, paths, container.init_pid))
            if len(about) > PLACE_BYTES - _ABOUT:
                return -1
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1)
            try:
                place = self._find(name, free=False)
                if place < 0 and (place := self._find(name, free=True)) >= 0:
                    now, at = _now(), _at(place)
                    self._map[at + _ABOUT : at + _ABOUT + len(about)] = about
                    _COPY.pack_into(self._map, at + _HEAD.size, now, *(0,) * 6)
                    _HEAD.pack_into(self._map, at, name, 0, len(about), now)
                    self._map[place] = by  # from now on it is there, whole
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1)
        if place >= 0 and by == REGISTERED:
            self._map[place] = by
        return place

    def _find(self, name: bytes, *, free: bool) -> int:
        """Return where a container is, or the first place that is free for it; -1 for none.

        All of one owner's begin at one place, so that it can't have more than ``PROBES`` of them.
        """
        home = int.from_bytes(name[:4], "little")
        for probe in range(PROBES):
            place = (home + probe) % PLACES
            used = self._map[place]
            if not used if free else used and self.owner(place) == name:
                return place
        return -1

    def at(self, place: int) -> Load:
        """Return the load at a place."""
        at = _at(place)
        copy = at + _HEAD.size + (self._map[at + 16] & 1) * _COPY.size
        sampled, one, five, fifteen, *rest = _COPY.unpack_from(self._map, copy)
        return Load(sampled, (one, five, fifteen), *rest)

    # The sampler's.

    def places(self) -> list[int]:
        """Return the places that are taken."""
        return [place for place, by in enumerate(self._map[:PLACES]) if by]

    def owner(self, place: int) -> bytes:
        """Return whose a place is: the same as long as it is one container's."""
        at = _at(place)
        return self._map[at : at + 16]

    def entry(self, place: int) -> Entry:
        """Return who is at a place."""
        at = _at(place)
        owner, _, length, _ = _HEAD.unpack_from(self._map, at)
        about = self._map[at + _ABOUT : at + _ABOUT + length]
        key, paths, init = marshal.loads(about)  # noqa: S302  (written by a worker)
        return Entry(owner, Container(key, Cgroup(paths), init))

    def unread_nsec(self, place: int, now_nsec: int) -> int:
        """Return since when nobody has asked for a container; 0 for one that is registered."""
        if self._map[place] == REGISTERED:
            return 0
        return max(1, now_nsec - int(_HEAD.unpack_from(self._map, _at(place))[3]))

    def store(self, place: int, load: Load) -> None:
        """Replace the load at a place."""
        at = _at(place)
        target = 1 - (self._map[at + 16] & 1)
        row = (load.sampled_nsec, *load.averages, load.running, load.total, load.last_pid)
        _COPY.pack_into(self._map, at + _HEAD.size + target * _COPY.size, *row)
        self._map[at + 16] = target

    def remove(self, place: int) -> None:
        """Give a place back."""
        self._map[place] = 0


class Seen(Loads):
    """The table, for who may not write: 0 for a container that nobody else has asked for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, _at(PLACES), prot=mmap.PROT_READ)

    def load(self, container: Container) -> Load:
        """See ``LoadStore``."""
        place = self._find(digest(container.key), free=False)
        return self.at(place) if place >= 0 else Load(0)


def _at(place: int) -> int:
    return PLACES + place * PLACE_BYTES


def _now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def of_daemon(host: Host) -> LoadStore:
    """Return the table of the daemon that serves (by /proc/PID/fd); without one, a store that knows nothing."""
    found = announcement.read(host)
    if found is None or not announcement.serves(host, found):
        return NoLoads()
    try:
        return Loads(os.open(f"{host.proc}/{found.pid}/fd/{found.loads}", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return NoLoads()

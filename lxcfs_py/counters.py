"""What the workers count, and what each is at: a table in shared memory, one row a worker, written by it alone.

There is no lock: a row has one writer, each number is eight aligned bytes, and whoever looks may find a request
counted whose time is not there yet. A worker that dies leaves its row to the next of its number.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import time
from typing import TYPE_CHECKING

from lxcfs_py.record import Record
from lxcfs_py.served import CPU, FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAMES = (*FILES, CPU)
"""Whose reads are timed apart; all that is below CPU counts as one."""
OPCODES = {
    "lookup": 1, "getattr": 3, "readlink": 5, "open": 14, "read": 15, "write": 16, "statfs": 17,
    "release": 18, "flush": 25, "opendir": 27, "releasedir": 29, "poll": 40, "readdir": 44,
}  # fmt: skip
"""The kernel's number for what each handler answers (enum fuse_opcode in include/uapi/linux/fuse.h)."""
IDLE = 0
"""Instead of an opcode: waits for a request."""

PID, STARTED_NSEC, STARTS, BUSY_SINCE_NSEC, OPCODE, UNIQUE, REQUESTS, ERRORS, FALLBACKS, CELLS_USED, FILES_AT = range(
    11
)
"""Where in a row each number is; times are CLOCK_MONOTONIC's, 0 for none."""
BUCKETS = 24
"""The first counts reads of less than 1 us, each further one those of less than twice as long, the last the rest."""
SUM_NSEC, MAX_NSEC = BUCKETS, BUCKETS + 1
FILE_WORDS = BUCKETS + 2
CELLS = 4096
"""Of how many containers one worker counts the reads; the first cell is the host's own."""
HOST = 0
KEY_BYTES = 16
_CELLS_AT = 4096
_KEYS_AT = _CELLS_AT + 8 * CELLS
WORKER_BYTES = _KEYS_AT + KEY_BYTES * CELLS
assert 8 * (FILES_AT + FILE_WORDS * len(NAMES)) <= _CELLS_AT


class Times(Record):
    """How long the reads of one file took, from when the request was there to when its text was."""

    buckets: tuple[int, ...] = (0,) * BUCKETS
    sum_nsec: int = 0
    max_nsec: int = 0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)

    def plus(self, other: Times) -> Times:
        """Return the times of both."""
        buckets = tuple(a + b for a, b in zip(self.buckets, other.buckets, strict=True))
        return Times(buckets, self.sum_nsec + other.sum_nsec, max(self.max_nsec, other.max_nsec))

    def quantile_usec(self, share: float) -> float:
        """Return what that share of the reads took at most, interpolated in its bucket; 0 without any."""
        rank, below = share * self.count, 0
        for number, count in enumerate(self.buckets):
            if count and below + count >= rank:
                low, high = (1 << number) // 2, 1 << number
                return min(low + (high - low) * (rank - below) / count, self.max_nsec / 1000)
            below += count
        return 0.0


class Worker(Record):
    """What one worker's row says. ``started_nsec`` and ``busy_since_nsec`` are CLOCK_MONOTONIC's."""

    number: int
    pid: int
    """0 before the first has begun."""
    started_nsec: int
    starts: int
    """How many workers of this number there have been; what follows is of all of them."""
    busy_since_nsec: int
    """When it took up the request it is at; 0 when it is at none."""
    opcode: int
    """``IDLE`` or the request's."""
    unique: int
    """The kernel's number of the request it is at, or was at last."""
    requests: int
    errors: int
    """Requests answered with an errno, but for those of ``boundary.ANSWERS``."""
    fallbacks: int
    """Reads answered with the host's file because the container's could not be made."""
    files: Mapping[str, Times]
    host_reads: int
    cells: Mapping[bytes, int]
    """Reads by container, under ``digest`` of its key."""

    @property
    def operation(self) -> str:
        """What it is at, by its handler's name; "" for nothing or what has no handler."""
        return next((name for name, opcode in OPCODES.items() if opcode == self.opcode), "")


class Request(Record):
    """Which request a worker is at, in a ``Worker``'s words."""

    since_nsec: int = 0
    opcode: int = IDLE
    unique: int = 0
    requests: int = 0


def digest(key: str) -> bytes:
    """Return what a container is counted under."""
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=KEY_BYTES).digest()


class Row:
    """A worker's own row, of a table's ``memory``. ``words`` are its numbers; who counts on the hot way does it in
    place. ``first`` is told the key of a container that no worker has counted a read for.
    """

    def __init__(self, table: memoryview, number: int, first: Callable[[str], None]) -> None:
        self._table, self._first = table, first
        memory = _rows(table)[number]
        self.words = memory[:_CELLS_AT].cast("Q")
        self._cells = memory[_CELLS_AT:_KEYS_AT].cast("Q")
        self._keys = memory[_KEYS_AT:]
        self._known = {key: number for number, key in _taken(memory)}

    def start(self) -> None:
        """Say that a worker begins."""
        words = self.words
        words[OPCODE], words[BUSY_SINCE_NSEC] = IDLE, 0
        words[PID], words[STARTED_NSEC] = os.getpid(), time.monotonic_ns()
        words[STARTS] += 1

    def read(self, file: int, cell: int) -> None:
        """Count a read of ``NAMES[file]`` whose text is made, for the container that ``cell`` stands for."""
        words = self.words
        took = time.monotonic_ns() - words[BUSY_SINCE_NSEC]
        at = FILES_AT + file * FILE_WORDS
        bucket = (took // 1000).bit_length()
        words[at + bucket if bucket < BUCKETS else at + BUCKETS - 1] += 1
        words[at + SUM_NSEC] += took
        if took > words[at + MAX_NSEC]:
            words[at + MAX_NSEC] = took
        self._cells[cell] += 1

    def cell(self, key: str) -> int:
        """Return what to count a container's reads under, a new cell if it has none; -1 if all are taken."""
        wanted = digest(key)
        if (known := self._known.get(wanted)) is not None:
            return known
        number = self.words[CELLS_USED] + 1
        if number >= CELLS:
            return -1
        if not any(wanted in found for found in map(_keys, _rows(self._table))):
            self._first(key)
        self._cells[number] = 0
        self._keys[number * KEY_BYTES : (number + 1) * KEY_BYTES] = wanted
        self.words[CELLS_USED] = number  # from now on it is there, whole
        self._known[wanted] = number
        return number

    def forget(self) -> None:
        """Begin anew with containers: every cell but the host's is free, and what ``cell`` has returned void."""
        self.words[CELLS_USED] = 0
        self._known.clear()


class Table:
    """The memory, of a descriptor that every worker gets."""

    def __init__(self, descriptor: int, workers: int) -> None:
        size = max(workers * WORKER_BYTES, os.fstat(descriptor).st_size)
        os.ftruncate(descriptor, size)
        self.workers = workers
        self._memory = memoryview(mmap.mmap(descriptor, size))

    def row(self, number: int, first: Callable[[str], None] = lambda _key: None) -> Row:
        """Return a worker's row, for that worker."""
        return Row(self._memory, number, first)

    def request(self, number: int) -> Request:
        """Return what a worker is at; it may be between two, but not for long."""
        words = _rows(self._memory)[number][:_CELLS_AT].cast("Q")
        return Request(words[BUSY_SINCE_NSEC], words[OPCODE], words[UNIQUE], words[REQUESTS])

    def worker(self, number: int) -> Worker:
        """Return what a worker's row says now."""
        memory = _rows(self._memory)[number]
        words, cells = memory[:_CELLS_AT].cast("Q"), memory[_CELLS_AT:_KEYS_AT].cast("Q")
        files = {}
        for file, name in enumerate(NAMES):
            first = FILES_AT + file * FILE_WORDS
            *buckets, total, most = words[first : first + FILE_WORDS].tolist()
            files[name] = Times(tuple(buckets), total, most)
        return Worker(
            number=number,
            pid=words[PID],
            started_nsec=words[STARTED_NSEC],
            starts=words[STARTS],
            busy_since_nsec=words[BUSY_SINCE_NSEC],
            opcode=words[OPCODE],
            unique=words[UNIQUE],
            requests=words[REQUESTS],
            errors=words[ERRORS],
            fallbacks=words[FALLBACKS],
            files=files,
            host_reads=cells[HOST],
            cells={key: cells[cell] for cell, key in _taken(memory)},
        )


def _taken(memory: memoryview) -> list[tuple[int, bytes]]:
    """Return the cells of a row that are containers', and whose each is."""
    keys = _keys(memory)
    return [(at // KEY_BYTES, keys[at : at + KEY_BYTES]) for at in range(KEY_BYTES, len(keys), KEY_BYTES)]


def _keys(memory: memoryview) -> bytes:
    """Return the keys of a row's cells, the first the host's."""
    used = min(memory[:_CELLS_AT].cast("Q")[CELLS_USED] + 1, CELLS)
    return bytes(memory[_KEYS_AT : _KEYS_AT + KEY_BYTES * used])


def _rows(table: memoryview) -> list[memoryview]:
    return [table[at : at + WORKER_BYTES] for at in range(0, len(table), WORKER_BYTES)]

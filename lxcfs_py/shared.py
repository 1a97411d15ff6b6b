"""What all workers share, in one memfd: CPU accounts and open files. A worker may die at any instruction.

Accounts: they have a record lock (fcntl(2): the kernel drops a dead process's), and each two copies; the one not
valid is written and then made valid by one byte, so that a writer that dies leaves the copy before.

Open files: any worker may get the next read of what another opened. Each worker takes slots from a part of its own
and any worker may give one back, so they need no lock. A worker that dies between taking one and saying so loses it.

One owner (``container.owner``) can use up neither: each has a share.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from lxcfs_py.container import digest, owner
from lxcfs_py.cputime import Account, advance

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.cgroup.api import CpuTime

SHARDS = 64
"""Each has a lock of its own: containers seldom wait for each other."""
PLACES = 64
"""How many places an account may be at, those of its shard; the least recently used of them gives way."""
ACCOUNTS = SHARDS * PLACES
ACCOUNTS_OF_ONE = 8
"""How many accounts an owner has, all in one shard, before the oldest of its own gives way."""
SPINS = 30
"""How often a lock is tried before it is waited for: it is held for 10 us, and to be put to sleep costs more."""
_HEAD = struct.Struct("=16sB7x")
_COPY = struct.Struct("=8q")
_CPU = struct.Struct("=4q")

OPENS = 8192
"""Files one worker may have opened at a time."""
OPENS_OF_ONE = OPENS // 8
"""Those of one owner, once there are as many."""
WARM = 64
"""Each worker's first slots keep their memory when they are given back; of others it returns to the system."""
FREE, TAKEN, DOUBTED = range(3)
"""What a slot is; doubted: perhaps nobody has its handle, because the worker that took it died."""
_TAKE = struct.Struct("=qq")
"""The slot a worker took last, and when (CLOCK_MONOTONIC)."""
_BASE = struct.Struct("=Q")
"""At random for each memory, and part of its handles: one of another memory, left from before an upgrade, is none."""
_SLOT = struct.Struct("=I8s")
"""How often it was given away, and to whom: zeros for nobody."""
_OPEN = struct.Struct("=IIq?7x")
"""Caller, length of what is known about it, length of the text (-1: none yet), and whether it was kept."""
_TEXT = struct.Struct("=q?")
_TEXT_AT = 8
OPEN_BYTES = 16384
TEXT_BYTES = 1 << 22
"""Address space, not memory, of one open file's text."""
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
_fallocate = ctypes.CDLL(None).fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class FullError(OSError):
    """No slot is free."""


class Shared:
    """The memory; made by the supervisor, handed to every worker as a descriptor."""

    def __init__(self, descriptor: int, workers: int, cpus: int, relay_bytes: int) -> None:
        self.descriptor = descriptor
        self._cpus = cpus
        self._slots = workers * OPENS
        self._copy_bytes = _COPY.size + cpus * _CPU.size
        self._account_bytes = _HEAD.size + 2 * self._copy_bytes
        self._takes_at = _pages(ACCOUNTS * self._account_bytes)
        base_at = self._takes_at + workers * _TAKE.size
        self._used_at = base_at + _BASE.size
        self._slots_at = self._used_at + self._slots
        self._opens_at = _pages(self._slots_at + self._slots * _SLOT.size)
        self._relays_at = self._opens_at + self._slots * OPEN_BYTES
        self._relay_bytes = _pages(relay_bytes)
        self._texts_at = self._relays_at + workers * self._relay_bytes
        if not os.fstat(descriptor).st_size:
            os.pwrite(descriptor, os.urandom(_BASE.size), base_at)
        os.ftruncate(descriptor, self._texts_at + self._slots * TEXT_BYTES)
        self._map = mmap.mmap(descriptor, self._texts_at)
        self._base: int = _BASE.unpack_from(self._map, base_at)[0]

    def relay(self, worker: int) -> memoryview:
        """Return where a worker's relay notes the request it is at."""
        at = self._relays_at + worker * self._relay_bytes
        return memoryview(self._map)[at : at + self._relay_bytes]

    # Accounts: a ``CpuStore``.

    def advance(self, key: str, start_nsec: int, now_nsec: int, time: CpuTime, n: int) -> Account:
        """See ``cputime.CpuStore``."""
        name = digest(key)
        shard = name[0] % SHARDS
        self._lock(shard)
        try:
            at, valid = self._find(name, shard)
            found = self._load(at, valid) if valid else Account(start_nsec)
            found = advance(found, max(now_nsec, found.last_nsec), time, min(n, self._cpus))
            self._store(at, name, found, valid)
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, shard)
        return found

    def _lock(self, shard: int) -> None:
        for _ in range(SPINS):
            try:
                fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shard)
            except BlockingIOError:
                continue
            return
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, shard)

    def _find(self, name: bytes, shard: int) -> tuple[int, int]:
        """Return the offset of the account and which copy is valid; or of the place it shall have, and 0."""
        others: list[tuple[int, int, int]] = []
        own: list[tuple[int, int, int]] = []
        for probe in range(PLACES):
            at = (shard * PLACES + (name[8] + probe) % PLACES) * self._account_bytes
            whose, valid = _HEAD.unpack_from(self._map, at)
            if whose == name:
                return at, valid
            last = _COPY.unpack_from(self._map, at + _HEAD.size + (valid == 2) * self._copy_bytes)[0] if valid else -1
            (own if valid and whose[:8] == name[:8] else others).append(
                (last, probe, at)
            )  # the first: it is found soonest
        return min(own if len(own) >= ACCOUNTS_OF_ONE else own + others)[2], 0

    def _load(self, at: int, valid: int) -> Account:
        copy = at + _HEAD.size + (valid - 1) * self._copy_bytes
        last, u, n, s, pu, pn, ps, cpus = _COPY.unpack_from(self._map, copy)
        each = _CPU.iter_unpack(self._map[copy + _COPY.size : copy + _COPY.size + cpus * _CPU.size])
        return Account(last, (u, n, s), (pu, pn, ps), tuple(each))

    def _store(self, at: int, name: bytes, account: Account, valid: int) -> None:
        if not valid:
            self._map[at + 16] = 0  # nobody's until the copy is whole
            self._map[at : at + 16] = name
        target = 2 if valid == 1 else 1
        copy = at + _HEAD.size + (target - 1) * self._copy_bytes
        last_nsec, seen, pending, cpus = account
        _COPY.pack_into(self._map, copy, last_nsec, *seen, *pending, len(cpus))
        for number, times in enumerate(cpus):
            _CPU.pack_into(self._map, copy + _COPY.size + number * _CPU.size, *times)
        self._map[at + 16] = target

    # Open files.

    def open(self, worker: int, about: bytes, pid: int, key: str) -> int:
        """Return a handle for a file that process ``pid``, of container ``key``, opened by this worker.

        ``about`` says which file. Raises FullError.
        """
        if len(about) > OPEN_BYTES - _OPEN.size:
            raise FullError(errno.ENOMEM, "a container's cgroup paths are too long", key)
        memory, first = self._map, worker * OPENS
        at = self._used_at + first
        number = memory.find(b"\0", at, at + OPENS) - at  # the lowest that is free: few pages are ever touched
        if number < 0:
            raise FullError(errno.ENFILE, "too many open files of all containers", key)
        whose = digest(key)[:8]
        if number >= OPENS_OF_ONE and self._held(first, whose) >= OPENS_OF_ONE:
            raise FullError(errno.EMFILE, "too many open files", owner(key))
        slot = first + number
        _TAKE.pack_into(memory, self._takes_at + worker * _TAKE.size, slot, monotonic_ns())
        memory[self._used_at + slot] = TAKEN
        at = self._slots_at + slot * _SLOT.size
        generation = _SLOT.unpack_from(memory, at)[0] + 1 & 0x7FFFFFFF
        _SLOT.pack_into(memory, at, generation, whose)
        at = self._opens_at + slot * OPEN_BYTES
        _OPEN.pack_into(memory, at, pid, len(about), -1, False)
        at += _OPEN.size
        memory[at : at + len(about)] = about
        return self._handle(slot, generation)

    def _handle(self, slot: int, generation: int) -> int:
        return (self._base + generation & 0x7FFFFFFF) << 32 | slot

    def _held(self, first: int, whose: bytes) -> int:
        """Return how many of a worker's slots are an owner's."""
        at = self._slots_at + first * _SLOT.size
        return self._map[at : at + OPENS * _SLOT.size].count(whose)

    def is_open(self, handle: int) -> bool:
        """Say whether a handle has not been given back."""
        slot, memory = handle & 0xFFFFFFFF, self._map
        if slot >= self._slots or (state := memory[self._used_at + slot]) == FREE:
            return False
        generation = _SLOT.unpack_from(memory, self._slots_at + slot * _SLOT.size)[0]
        if self._base + generation & 0x7FFFFFFF != handle >> 32:  # as ``_handle`` makes it
            return False
        if state != TAKEN:  # doubted, but somebody has it
            memory[self._used_at + slot] = TAKEN
        return True

    def opened(self, handle: int) -> Opened | None:
        """Return what a handle stands for, None if it was given back."""
        if not self.is_open(handle):
            return None
        at = self._opens_at + (handle & 0xFFFFFFFF) * OPEN_BYTES
        pid, about, length, kept = _OPEN.unpack_from(self._map, at)
        return Opened(self._map[at + _OPEN.size : at + _OPEN.size + about], pid, length, kept)

    def whose(self, handle: int) -> bytes:
        """Return whom a handle was given to, of any length if it never was."""
        at = self._slots_at + (handle & 0xFFFFFFFF) * _SLOT.size
        return self._map[at + 4 : at + _SLOT.size]

    def keep(self, handle: int, text: bytes, *, whole: bool) -> None:
        """Remember the text a file's reader has begun; only its length if the ``whole`` has been handed out.

        Where a worker dies, the kernel asks others what we are at: the file may have been closed, and its slot be
        another's, whose text this is not.
        """
        slot = handle & 0xFFFFFFFF
        if not whole:
            if not self.is_open(handle):
                return
            text = text[:TEXT_BYTES]
            os.pwrite(self.descriptor, text, self._texts_at + slot * TEXT_BYTES)
        _TEXT.pack_into(self._map, self._opens_at + slot * OPEN_BYTES + _TEXT_AT, len(text), not whole)

    def kept(self, handle: int) -> tuple[int, bool]:
        """Return the length of an open file's text (-1: none yet), and whether ``text`` has it."""
        return _TEXT.unpack_from(self._map, self._opens_at + (handle & 0xFFFFFFFF) * OPEN_BYTES + _TEXT_AT)

    def text(self, handle: int, offset: int, size: int) -> bytes:
        """Return a piece of the text that was kept."""
        return os.pread(self.descriptor, size, self._texts_at + (handle & 0xFFFFFFFF) * TEXT_BYTES + offset)

    def release(self, handle: int) -> None:
        """Give a handle back."""
        if self.is_open(handle):
            self._free(handle & 0xFFFFFFFF)

    def _free(self, slot: int) -> None:
        if slot % OPENS >= WARM:
            self._empty(self._opens_at + slot * OPEN_BYTES, OPEN_BYTES)
            self._empty(self._texts_at + slot * TEXT_BYTES, TEXT_BYTES)
        at = self._slots_at + slot * _SLOT.size
        self._map[at + 4 : at + _SLOT.size] = bytes(8)
        self._map[self._used_at + slot] = FREE

    def took(self, worker: int, since_nsec: int) -> int:
        """Return the slot that a worker has taken since then and that was not given back; -1 for none."""
        slot, taken_nsec = _TAKE.unpack_from(self._map, self._takes_at + worker * _TAKE.size)
        since = max(since_nsec, 1)  # a worker that never took one has 0 there
        return int(slot) if taken_nsec >= since and self._map[self._used_at + slot] == TAKEN else -1

    def untake(self, slot: int) -> None:
        """Give a slot back whose handle nobody was told."""
        self._free(slot)

    def doubt(self, slot: int) -> None:
        """Say that perhaps nobody was told a slot's handle: until it is used, or ``reclaim`` gives it back."""
        self._map[self._used_at + slot] = DOUBTED

    def reclaim(self, alive: Callable[[int], bool]) -> None:
        """Give back the doubted slots that were taken for a thread which has ended."""
        doubted, end = bytes([DOUBTED]), self._used_at + self._slots
        at = self._map.find(doubted, self._used_at, end)
        while at >= 0:
            slot = at - self._used_at
            if not alive(_OPEN.unpack_from(self._map, self._opens_at + slot * OPEN_BYTES)[0]):
                self._free(slot)
            at = self._map.find(doubted, at + 1, end)

    def taken(self) -> int:
        """Return how many files are open."""
        return self._slots - self._map[self._used_at : self._used_at + self._slots].count(FREE)

    def _empty(self, at: int, size: int) -> None:
        """Give memory back to the system; what can't be is used again all the same."""
        _fallocate(self.descriptor, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, at, size)


class Opened(NamedTuple):
    """An open file: what was said at its opening, the length of its text (-1 before the first read), and
    whether ``Shared.text`` has it.
    """

    about: bytes
    pid: int
    length: int
    kept: bool


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def make(workers: int, cpus: int, relay_bytes: int) -> Shared:
    """Return new shared memory; its descriptor is inheritable."""
    return Shared(os.memfd_create("lxcfs-py", 0), workers, cpus, relay_bytes)

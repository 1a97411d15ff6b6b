"""What all workers share, in one memfd: CPU accounts (``accounts``), open files. A worker may die at any instruction.

Open files: any worker may get the next read of what another opened. Each worker takes slots from a part of its own
and any worker may give one back, so they need no lock. A worker that dies between taking one and saying so loses it.

One owner (``container.owner``) can use up neither: each has a share.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from lxcfs_py import accounts
from lxcfs_py.container import digest, owner

if TYPE_CHECKING:
    from collections.abc import Callable

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
    """The memory, in a descriptor that the supervisor has made (``daemon.session``); new it is empty."""

    def __init__(self, descriptor: int, workers: int, cpus: int, relay_bytes: int) -> None:
        self.descriptor = descriptor
        self._slots = workers * OPENS
        self._takes_at = _pages(accounts.size(cpus))
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
        self.accounts = accounts.Accounts(descriptor, self._map, cpus)

    def relay(self, worker: int) -> memoryview:
        """Return where a worker's relay notes the request it is at."""
        at = self._relays_at + worker * self._relay_bytes
        return memoryview(self._map)[at : at + self._relay_bytes]

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

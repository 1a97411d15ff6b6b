"""What all workers share, in one memfd: CPU accounts and open files. A worker may die at any instruction.

Accounts: they have a record lock (fcntl(2): the kernel drops a dead process's), and each two copies; the one not
valid is written and then made valid by one byte, so that a writer that dies leaves the copy before.

Open files: any worker may get the next read of what another opened. Each worker takes slots from a part of its own
and any worker may give one back, so they need no lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from lxcfs_py.cputime import Account, advance

if TYPE_CHECKING:
    from lxcfs_py.cgroup.api import CpuTime

SHARDS = 64
"""Each has a lock of its own: containers seldom wait for each other."""
PLACES = 64
"""How many places an account may be at, those of its shard; the least recently used of them gives way."""
ACCOUNTS = SHARDS * PLACES
SPINS = 30
"""How often a lock is tried before it is waited for: it is held for 10 us, and to be put to sleep costs more."""
_HEAD = struct.Struct("=16sB7x")
_COPY = struct.Struct("=8q")
_CPU_BYTES = 4 * 8

OPENS = 4096
"""Files one worker may have opened at a time."""
_OPEN = struct.Struct("=IIIxxxxq")
"""Generation, caller, length of what is known about it, length of the text (-1: none yet)."""
_LENGTH = struct.Struct("=q")
OPEN_BYTES = 16384
TEXT_BYTES = 1 << 22
"""Address space, not memory, of one open file's text."""


class FullError(OSError):
    """No slot is free."""


class Shared:
    """The memory; made by the supervisor, handed to every worker as a descriptor."""

    def __init__(self, descriptor: int, workers: int, cpus: int, relay_bytes: int) -> None:
        self.descriptor = descriptor
        self._cpus = cpus
        self._digests: dict[str, bytes] = {}
        self._copy_bytes = _COPY.size + cpus * _CPU_BYTES
        self._account_bytes = _HEAD.size + 2 * self._copy_bytes
        self._used_at = _pages(ACCOUNTS * self._account_bytes)
        self._opens_at = _pages(self._used_at + workers * OPENS)
        self._relays_at = self._opens_at + workers * OPENS * OPEN_BYTES
        self._relay_bytes = _pages(relay_bytes)
        self._texts_at = self._relays_at + workers * self._relay_bytes
        os.ftruncate(descriptor, self._texts_at + workers * OPENS * TEXT_BYTES)
        self._map = mmap.mmap(descriptor, self._texts_at)

    def relay(self, worker: int) -> memoryview:
        """Return where a worker's relay notes the request it is at."""
        at = self._relays_at + worker * self._relay_bytes
        return memoryview(self._map)[at : at + self._relay_bytes]

    # Accounts: a ``CpuStore``.

    def advance(self, key: str, start_nsec: int, now_nsec: int, time: CpuTime, n: int) -> Account:
        """See ``cputime.CpuStore``."""
        digest = self._digests.get(key)
        if digest is None:
            if len(self._digests) >= ACCOUNTS:
                self._digests.clear()
            digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).digest()
            self._digests[key] = digest
        shard = digest[0] % SHARDS
        self._lock(shard)
        try:
            at = self._find(digest, shard)
            found = self._load(at, digest) or Account(start_nsec)
            found = advance(found, max(now_nsec, found.last_nsec), time, min(n, self._cpus))
            self._store(at, digest, found)
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

    def _find(self, digest: bytes, shard: int) -> int:
        """Return the offset of the account, or of the place it shall have."""
        oldest, oldest_nsec = -1, 1 << 63
        for probe in range(PLACES):
            at = (shard * PLACES + (digest[1] + probe) % PLACES) * self._account_bytes
            owner, valid = _HEAD.unpack_from(self._map, at)
            if owner == digest:
                return at
            last = _COPY.unpack_from(self._map, at + _HEAD.size + (valid == 2) * self._copy_bytes)[0] if valid else -1
            if last < oldest_nsec:
                oldest, oldest_nsec = at, last
        return oldest

    def _load(self, at: int, digest: bytes) -> Account | None:
        owner, valid = _HEAD.unpack_from(self._map, at)
        if owner != digest or not valid:
            return None
        copy = at + _HEAD.size + (valid - 1) * self._copy_bytes
        last, u, n, s, pu, pn, ps, cpus = _COPY.unpack_from(self._map, copy)
        flat = struct.unpack_from(f"={4 * cpus}q", self._map, copy + _COPY.size)
        each = iter(flat)
        return Account(last, (u, n, s), (pu, pn, ps), tuple(zip(each, each, each, each, strict=True)))

    def _store(self, at: int, digest: bytes, account: Account) -> None:
        owner, valid = _HEAD.unpack_from(self._map, at)
        if owner != digest:
            self._map[at + 16] = 0  # nobody's until the copy is whole
            self._map[at : at + 16] = digest
            valid = 0
        target = 2 if valid == 1 else 1
        copy = at + _HEAD.size + (target - 1) * self._copy_bytes
        numbers = [number for cpu in account.cpus for number in cpu]
        head = (account.last_nsec, *account.seen, *account.pending, len(account.cpus))
        struct.pack_into(f"={8 + len(numbers)}q", self._map, copy, *head, *numbers)
        self._map[at + 16] = target

    # Open files.

    def open(self, worker: int, about: bytes, pid: int) -> int:
        """Return a handle for a file that process ``pid`` opened by this worker; ``about`` says which."""
        if len(about) > OPEN_BYTES - _OPEN.size:
            raise FullError(12, "a container's cgroup paths are too long")
        first = self._used_at + worker * OPENS
        used = self._map.find(b"\0", first, first + OPENS)  # the lowest that is free: few pages are ever touched
        if used < 0:
            raise FullError(23, "too many open files")
        self._map[used] = 1
        slot = used - self._used_at
        at = self._opens_at + slot * OPEN_BYTES
        generation = int.from_bytes(self._map[at : at + 4], sys.byteorder) + 1 & 0x7FFFFFFF
        _OPEN.pack_into(self._map, at, generation, pid, len(about), -1)
        self._map[at + _OPEN.size : at + _OPEN.size + len(about)] = about
        return generation << 32 | slot

    def opened(self, handle: int) -> Opened | None:
        """Return what a handle stands for, None if it was given back."""
        slot = handle & 0xFFFFFFFF
        at = self._opens_at + slot * OPEN_BYTES
        generation, pid, about, length = _OPEN.unpack_from(self._map, at)
        if generation != handle >> 32 or not self._map[self._used_at + slot]:
            return None
        return Opened(self._map[at + _OPEN.size : at + _OPEN.size + about], pid, length)

    def keep(self, handle: int, text: bytes, *, whole: bool) -> None:
        """Remember the text a file's reader has begun; only its length if the ``whole`` has been handed out."""
        slot = handle & 0xFFFFFFFF
        if not whole:
            text = text[:TEXT_BYTES]
            os.pwrite(self.descriptor, text, self._texts_at + slot * TEXT_BYTES)
        _LENGTH.pack_into(self._map, self._opens_at + slot * OPEN_BYTES + _OPEN.size - _LENGTH.size, len(text))

    def text(self, handle: int, offset: int, size: int) -> bytes:
        """Return a piece of the text that was kept."""
        return os.pread(self.descriptor, size, self._texts_at + (handle & 0xFFFFFFFF) * TEXT_BYTES + offset)

    def release(self, handle: int) -> None:
        """Give a handle back."""
        if self.opened(handle) is not None:
            self._map[self._used_at + (handle & 0xFFFFFFFF)] = 0


class Opened(NamedTuple):
    """An open file: what was said at its opening, and the length of its text, -1 before the first read."""

    about: bytes
    pid: int
    length: int


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def make(workers: int, cpus: int, relay_bytes: int) -> Shared:
    """Return new shared memory; its descriptor is inheritable."""
    return Shared(os.memfd_create("lxcfs-py", 0), workers, cpus, relay_bytes)

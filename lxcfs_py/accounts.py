"""CPU accounts in memory that all workers share (``shared``). A worker may die at any instruction.

They have a record lock (fcntl(2): the kernel drops a dead process's), and each two copies; the one not valid is
written and then made valid by one byte, so that a writer that dies leaves the copy before.
"""

from __future__ import annotations

import fcntl
import struct
from typing import TYPE_CHECKING

from lxcfs_py.container import digest
from lxcfs_py.cputime import Account, advance

if TYPE_CHECKING:
    import mmap

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


def _copy_bytes(cpus: int) -> int:
    return _COPY.size + cpus * _CPU.size


def size(cpus: int) -> int:
    """Return how many bytes all accounts take."""
    return ACCOUNTS * (_HEAD.size + 2 * _copy_bytes(cpus))


class Accounts:
    """A ``CpuStore``, at the beginning of a map of the memory whose descriptor is given."""

    def __init__(self, descriptor: int, memory: mmap.mmap, cpus: int) -> None:
        self._descriptor, self._map, self._cpus = descriptor, memory, cpus
        self._copy_bytes = _copy_bytes(cpus)
        self._account_bytes = _HEAD.size + 2 * self._copy_bytes

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
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, shard)
        return found

    def _lock(self, shard: int) -> None:
        for _ in range(SPINS):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shard)
            except BlockingIOError:
                continue
            return
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, shard)

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

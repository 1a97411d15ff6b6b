"""Inode numbers that mean the same path in every worker: a table in shared memory.

A number is a place in the table and how often that was given away, so that the kernel's old numbers are never
taken for new ones. A place is given away when the container it belonged to has ended.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES = 1 << 16
PROBES = 128
PLACE_BYTES = 256
_HEAD = struct.Struct("=IH")
"""How often it was given away, and the length of the path: 0 for a free place."""
ROOT = 1
FIRST = 2


class Nodes:
    """The table; ``gone`` says of a path whether it will never be served again."""

    def __init__(self, descriptor: int) -> None:
        os.ftruncate(descriptor, PLACES * PLACE_BYTES)
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, PLACES * PLACE_BYTES)
        self.gone: Callable[[str], bool] = lambda _path: False

    def _read(self, place: int) -> tuple[int, bytes]:
        at = place * PLACE_BYTES
        generation, length = _HEAD.unpack_from(self._map, at)
        return generation, self._map[at + _HEAD.size : at + _HEAD.size + length]

    def path(self, inode: int) -> str:
        """Return the path of a number; raises OSError ESTALE if it is nobody's any more."""
        if inode == ROOT:
            return ""
        place = inode & 0xFFFFFFFF
        if FIRST <= place < PLACES:
            generation, path = self._read(place)
            if path and generation == inode >> 32:
                return path.decode("utf-8", "surrogateescape")
        raise OSError(errno.ESTALE, "the container has gone")

    def inode(self, path: str) -> int:
        """Return the number of a path, a new one if it has none; raises OSError if the table is full."""
        if not path:
            return ROOT
        data = path.encode("utf-8", "surrogateescape")
        if len(data) > PLACE_BYTES - _HEAD.size:
            raise OSError(errno.ENAMETOOLONG, "the path is too long", path)
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1)
        try:
            return self._place(data)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1)

    def _place(self, data: bytes) -> int:
        home = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
        free = -1
        for probe in range(PROBES):
            place = FIRST + (home + probe) % (PLACES - FIRST)
            generation, path = self._read(place)
            if path == data:
                return generation << 32 | place
            if not path:
                free = place if free < 0 else free
                break
        if free < 0:
            free = self._reclaimed(home)
        at = free * PLACE_BYTES
        generation = _HEAD.unpack_from(self._map, at)[0] + 1 & 0x7FFFFFFF
        _HEAD.pack_into(self._map, at, generation, 0)  # nobody's while it is written
        self._map[at + _HEAD.size : at + _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._map, at, generation, len(data))
        return int(generation) << 32 | free

    def _reclaimed(self, home: int) -> int:
        for probe in range(PROBES):
            place = FIRST + (home + probe) % (PLACES - FIRST)
            if self.gone(self._read(place)[1].decode("utf-8", "surrogateescape")):
                return place
        raise OSError(errno.ENOMEM, "too many files are known")

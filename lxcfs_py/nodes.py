"""Inode numbers that mean the same path in every worker: a table in shared memory.

A number is a place in the table and how often that was given away, so that the kernel's old numbers are never
taken for new ones. The lowest free place is the next to be given away, and each time one is, two others are looked
at, and freed if the container they belonged to has ended: the table's memory grows with the containers there are,
not with those there were.

A worker may die at any instruction (the kernel drops its lock): a place is found by its path from the moment on that
one number says so, and no more from the moment on that another says so; what is half done is freed in its turn.
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

LAYOUT = 1
"""Of the table. The files that containers have bound are known by its numbers: a version of another layout can't
serve them, so there had better be none.
"""
PLACES = 1 << 16
PLACE_BYTES = 256
LOOKED_AT, LOOKED_AT_WHEN_FULL = 2, 128
_PLACE = struct.Struct("=IIH")
"""How often it was given away, the next place of its chain (0: none), and the length of the path: 0 for none."""
_NUMBER = struct.Struct("=I")
_HAND_AT, _CHAINS_AT, _USED_AT = 0, 4096, 4096 + PLACES * _NUMBER.size
"""The place that is to be looked at next; by a path's hash, the first place of its chain; which places are used."""
_PLACES_AT = _USED_AT + PLACES
ROOT = 1
FIRST = 2


class Nodes:
    """The table; ``gone`` says of a path whether it will never be served again."""

    def __init__(self, descriptor: int) -> None:
        size = _PLACES_AT + PLACES * PLACE_BYTES
        os.ftruncate(descriptor, size)
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, size)
        self.gone: Callable[[str], bool] = lambda _path: False

    def _read(self, place: int) -> tuple[int, int, bytes]:
        at = _PLACES_AT + place * PLACE_BYTES
        generation, following, length = _PLACE.unpack_from(self._map, at)
        return generation, following, self._map[at + _PLACE.size : at + _PLACE.size + length]

    def path(self, inode: int) -> str:
        """Return the path of a number; raises OSError ESTALE if it is nobody's any more."""
        if inode == ROOT:
            return ""
        place = inode & 0xFFFFFFFF
        if FIRST <= place < PLACES:
            generation, _, path = self._read(place)
            if path and generation == inode >> 32:
                return _text(path)
        raise OSError(errno.ESTALE, "the container has gone")

    def inode(self, path: str) -> int:
        """Return the number of a path, a new one if it has none; raises OSError if the table is full."""
        if not path:
            return ROOT
        data = path.encode("utf-8", "surrogateescape")
        if len(data) > PLACE_BYTES - _PLACE.size:
            raise OSError(errno.ENAMETOOLONG, "the path is too long", path)
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1)
        try:
            return self._find(data) or self._give(data)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1)

    def _write(self, at: int, data: bytes) -> None:
        """Write; four bytes are one store, not four: memcpy(3) as every C library has it."""
        self._map[at : at + len(data)] = data

    def _number(self, at: int) -> int:
        return int(_NUMBER.unpack_from(self._map, at)[0])

    def _find(self, data: bytes) -> int:
        place = self._number(_chain(data))
        while place:
            generation, following, path = self._read(place)
            if path == data:
                return generation << 32 | place
            place = following
        return 0

    def _give(self, data: bytes) -> int:
        self._look(LOOKED_AT)
        place = self._free()
        if not place:
            self._look(LOOKED_AT_WHEN_FULL)
            place = self._free()
        if not place:
            raise OSError(errno.ENOMEM, "too many files are known")
        at, chain = _PLACES_AT + place * PLACE_BYTES, _chain(data)
        generation = _PLACE.unpack_from(self._map, at)[0] + 1 & 0x7FFFFFFF
        self._write(_USED_AT + place, b"\1")
        self._write(at, _PLACE.pack(generation, self._number(chain), 0))  # nobody's while it is written
        self._write(at + _PLACE.size, data)
        self._write(at, _PLACE.pack(generation, self._number(chain), len(data)))
        self._write(chain, _NUMBER.pack(place))
        return int(generation) << 32 | place

    def _free(self) -> int:
        """Return the lowest place that is free, 0 for none."""
        return max(0, self._map.find(b"\0", _USED_AT + FIRST, _PLACES_AT) - _USED_AT)

    def _look(self, count: int) -> None:
        """Look at some used places after those looked at last."""
        for _ in range(count):
            begin = _USED_AT + max(FIRST, self._number(_HAND_AT))
            place = self._map.find(b"\1", begin, _PLACES_AT) - _USED_AT
            self._write(_HAND_AT, _NUMBER.pack(max(0, place + 1) % PLACES))
            if place > 0:
                path = self._read(place)[2]
                if not path or self.gone(_text(path)):
                    self._take_back(place, path)

    def _take_back(self, place: int, path: bytes) -> None:
        at, following = _chain(path), self._read(place)[1]
        while (found := self._number(at)) and found != place:
            at = _PLACES_AT + found * PLACE_BYTES + _NUMBER.size
        if found:
            self._write(at, _NUMBER.pack(following))
        self._write(_PLACES_AT + place * PLACE_BYTES, _PLACE.pack(self._read(place)[0], 0, 0))
        self._write(_USED_AT + place, b"\0")


def _chain(path: bytes) -> int:
    """Return where the first place of a path's chain is."""
    return (
        _CHAINS_AT + int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "little") % PLACES * _NUMBER.size
    )


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")

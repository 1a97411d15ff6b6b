"""The order in which requests are answered.

The kernel has one line for all: behind sixty-four readers of one container waits whoever reads in another. A worker
that finds a crowd there takes in all of it, and gives each container its turn.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from collections import deque
from typing import TYPE_CHECKING

from lxcfs_py.counters import BUSY_SINCE_NSEC, IDLE, OPCODE
from lxcfs_py.fuse import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MOST_HELD = 1024
"""Requests that one worker takes in."""
LOOK_EVERY = 4
"""After so many requests it looks whether there is a crowd."""


class UnmountedError(Exception):
    """The mount is gone."""


class LeaveError(Exception):
    """SIGTERM came, and no request is held."""


class Requests:
    """One worker's way to the requests behind /dev/fuse.

    ``words`` is the worker's row of the counters; ``owner`` says whose turn a request takes. ``slot`` is a part of
    shared memory, of ``protocol.REQUEST_BYTES`` at least, where a request's number is as long as it is being
    answered: the kernel copies it there itself, so nobody can die holding one that is not noted. None where the
    kernel asks again (6.9 and later). With a slot nothing else is taken in.
    """

    def __init__(
        self, fuse_fd: int, words: memoryview, owner: Callable[[memoryview], Hashable], slot: memoryview | None
    ) -> None:
        self._fuse_fd, self._words, self._owner, self._slot = fuse_fd, words, owner, slot
        self._buffer = memoryview(bytearray(protocol.REQUEST_BYTES)) if slot is None else slot
        self._buffers = (self._buffer,)
        self._held: dict[Hashable, deque[memoryview]] = {}
        self._count = self._since = 0
        self._crowd = self._waiting = self._leaving = False
        os.set_blocking(fuse_fd, False)
        # Those that wait in read(2) are woken in turn, each on a CPU where nothing of it is in the caches any more:
        # one reader waits twice as long with two workers as with one. Exclusive waiters of epoll(7) are asked in a
        # fixed order.
        self._epoll = select.epoll()
        self._epoll.register(fuse_fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self._poll = self._epoll.poll
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, _number: int, _frame: object) -> None:
        self._leaving = True
        if self._waiting:
            raise LeaveError

    def following(self) -> memoryview:
        """Return the next request, which is void at the next call; raises UnmountedError, or LeaveError."""
        if self._slot is not None:
            self._slot[: protocol.UNIQUE_OFFSET + 8] = bytes(protocol.UNIQUE_OFFSET + 8)
        elif self._since >= LOOK_EVERY or (self._crowd and not self._count):
            self._since, self._crowd = 0, self._count > 0
            # A look costs a third of a read in vain, which raises.
            if not self._leaving and self._poll(0, 1) and (length := self._read()):
                if not self._count and not self._poll(0, 1):
                    return self._buffer[:length]
                self._crowd = True
                self._take_in(length)
        self._since += 1
        if self._count:
            return self._turn()
        words = self._words
        while True:
            words[BUSY_SINCE_NSEC] = 0
            words[OPCODE] = IDLE
            self._waiting = True
            try:
                if self._leaving:
                    raise LeaveError
                self._poll(-1, 1)
            finally:
                self._waiting = False
            if length := self._read():
                return self._buffer[:length]

    def _read(self) -> int:
        """Read a request into the buffer; return its length, 0 if there is none."""
        try:
            return os.readv(self._fuse_fd, self._buffers)
        except BlockingIOError:  # another worker was faster
            return 0
        except FileNotFoundError:  # the caller was killed while it was handed over
            return 0
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise UnmountedError from error
            raise

    def _take_in(self, length: int) -> None:
        """Hold what was read, and all else that is there."""
        while length:
            request = memoryview(bytes(self._buffer[:length]))
            self._held.setdefault(self._owner(request), deque()).append(request)
            self._count += 1
            length = 0 if self._count >= MOST_HELD or self._leaving else self._read()

    def _turn(self) -> memoryview:
        """Return the next request of whoever was served longest ago."""
        owner = next(iter(self._held))
        theirs = self._held.pop(owner)
        request = theirs.popleft()
        if theirs:
            self._held[owner] = theirs
        self._count -= 1
        return request

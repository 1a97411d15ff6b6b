"""Answers OPEN, READ and RELEASE, of which reading a file consists, without libfuse."""

from __future__ import annotations

import errno
import os
from time import monotonic_ns
from typing import TYPE_CHECKING

from lxcfs_py.counters import BUSY_SINCE_NSEC, OPCODE, REQUESTS, UNIQUE
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.boundary import number
from lxcfs_py.fuse.protocol import INTERRUPT, OPEN, READ, RELEASE

if TYPE_CHECKING:
    from collections.abc import Hashable

    from lxcfs_py.fuse.operations import Operations

_OURS = {OPEN: "open", READ: "read", RELEASE: "release"}


class Reading:
    """Answers one worker's."""

    def __init__(self, operations: Operations, fuse_fd: int) -> None:
        self._operations, self._fuse_fd = operations, fuse_fd
        self._words = operations.words

    def owner(self, request: memoryview) -> Hashable:
        """Return whose share of the workers' time a request uses up."""
        opcode, _, inode, pid = protocol.asked(request)
        if opcode in (READ, RELEASE):
            return self._operations.whose(protocol.handle(request))
        return self._operations.owner(inode, pid)

    def answered(self, request: memoryview) -> bool:
        """Answer a request; return False if libfuse shall.

        Of INTERRUPT nobody needs to hear: what it is about is answered in a moment, and libfuse, which does not know
        that request, would keep it for ever. What is read for the page cache might be handed to somebody else: who
        asks for that (by sendfile(2) or splice(2), from 6.5 on) is told to read(2), as by many files of /proc.
        """
        opcode, unique, inode, pid = protocol.asked(request)
        words = self._words
        words[UNIQUE] = unique
        if opcode not in _OURS:
            return opcode == INTERRUPT
        words[OPCODE] = opcode
        words[BUSY_SINCE_NSEC] = monotonic_ns()
        words[REQUESTS] += 1
        handle = 0
        try:
            if opcode == READ:
                at, offset, size, flags = protocol.reading(request)
                if flags & protocol.FOR_PROCESS:
                    reply = protocol.success(unique, self._operations.piece(at, offset, size))
                else:
                    reply = protocol.error(unique, errno.EINVAL)
            elif opcode == OPEN:
                handle = self._operations.opened(inode, protocol.flags(request), pid)
                reply = protocol.opened(unique, handle)
            else:
                self._operations.closed(protocol.handle(request))
                reply = protocol.success(unique)
        except Exception as error:  # noqa: BLE001  (it would end the mount)
            reply = protocol.error(unique, number(self._operations, _OURS[opcode], error))
        try:
            os.write(self._fuse_fd, reply)
        except OSError:  # the caller was killed, or the kernel asked another worker again
            if handle:
                try:
                    self._operations.closed(handle)
                except Exception as error:  # noqa: BLE001
                    number(self._operations, _OURS[RELEASE], error)
        return True

"""Answers OPEN, READ and RELEASE, of which reading a file consists, without libfuse."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

import pyfuse3

from lxcfs_py.counters import UNIQUE
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.boundary import bounded
from lxcfs_py.fuse.operations import Operations
from lxcfs_py.fuse.protocol import INTERRUPT, OPEN, READ, RELEASE

if TYPE_CHECKING:
    from collections.abc import Hashable

_open = bounded(Operations.opened, "open")
_read = bounded(Operations.piece, "read")
_release = bounded(Operations.closed, "release")


class Reading:
    """Answers one worker's."""

    def __init__(self, operations: Operations, fuse_fd: int) -> None:
        self._operations, self._fuse_fd = operations, fuse_fd

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
        self._operations.words[UNIQUE] = unique
        handle = 0
        try:
            if opcode == READ and protocol.for_page_cache(request):
                reply = protocol.error(unique, errno.EINVAL)
            elif opcode == READ:
                reply = protocol.success(unique, _read(self._operations, *protocol.reading(request)))
            elif opcode == OPEN:
                handle = _open(self._operations, inode, protocol.flags(request), pid)
                reply = protocol.opened(unique, handle)
            elif opcode == RELEASE:
                _release(self._operations, protocol.handle(request))
                reply = protocol.success(unique)
            else:
                return opcode == INTERRUPT
        except pyfuse3.FUSEError as error:
            reply = protocol.error(unique, error.errno)
        try:
            os.write(self._fuse_fd, reply)
        except OSError:  # the caller was killed, or the kernel asked another worker again
            if handle:
                with contextlib.suppress(pyfuse3.FUSEError):
                    _release(self._operations, handle)
        return True

"""Kernel files kept open and read again: an open saved is 10 us (proc(5), cgroup(7)).

Files of procfs, sysfs and cgroupfs make their text anew for every read from offset 0, so one descriptor serves
for as long as the thing it describes exists.
"""

from __future__ import annotations

import errno
import os

CHUNK = 1 << 16
GONE = (errno.ENODEV, errno.ESRCH, errno.ESTALE, errno.ENOENT, errno.EBADF, errno.ENOTCONN)
"""What a read says when what the descriptor described has gone: its path may name something new by now."""


class Files:
    """Reads files by path; keeps at most ``limit`` of them open, dropping those used least recently."""

    def __init__(self, limit: int = 512) -> None:
        self._limit = limit
        self._open: dict[str, int] = {}
        self.failures: list[OSError] = []
        """What is there but could not be read and was done without, for the log of whoever has one to empty it."""

    def read(self, path: str) -> bytes:
        """Return the file's whole text; raises OSError (FileNotFoundError, PermissionError, ...) naming it."""
        descriptor = self._open.pop(path, -1)
        if descriptor >= 0:
            try:
                data = _whole(descriptor)
            except OSError as error:
                os.close(descriptor)
                if error.errno not in GONE:
                    raise OSError(error.errno, error.strerror, path) from error
            else:
                self._open[path] = descriptor  # at the end: used last
                return data
        return self._first(path)

    def _first(self, path: str) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            data = _whole(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise OSError(error.errno, error.strerror, path) from error
        while len(self._open) >= self._limit:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = descriptor
        return data

    def close(self) -> None:
        """Close every descriptor; the object can be used on."""
        while self._open:
            os.close(self._open.popitem()[1])


def _whole(descriptor: int) -> bytes:
    """Read from the start until nothing comes: seq_file may return less than asked for in mid-text."""
    data = os.pread(descriptor, CHUNK, 0)
    if not data:
        return data
    parts, offset = [data], len(data)
    while data:
        data = os.pread(descriptor, CHUNK, offset)
        parts.append(data)
        offset += len(data)
    return parts[0] if len(parts) == 2 else b"".join(parts)

"""Kernel files kept open and read again: an open saved is 10 us (proc(5), cgroup(7)).

Files of procfs, sysfs and cgroupfs make their text anew for every read from offset 0, so one descriptor serves
for as long as the thing it describes exists.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK = 1 << 16
ONE = 1 << 12
"""A read as long as most texts: the buffer of a longer one costs as much as the read."""
GONE = (errno.ENODEV, errno.ESRCH, errno.ESTALE, errno.ENOENT, errno.EBADF, errno.ENOTCONN)
"""What a read says when what the descriptor described has gone: its path may name something new by now."""

ABSENT = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.EOPNOTSUPP)
"""What opening or reading says where the controller, the file or the whole cgroup is not there (any more)."""
MOST_FAILURES = 64


def affordable(most: int) -> int:
    """Return how many descriptors one of a process's three caches may keep: at most this, and never nearly all.

    Where no descriptor is free a container can't be told from the host.
    """
    import resource

    return min(most, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 5)


class Files:
    """Reads files by path; keeps at most ``limit`` of them open, dropping those opened first."""

    def __init__(self, limit: int = 2048) -> None:
        self._limit = limit
        self._open: dict[str, int] = {}
        self.failures: list[OSError] = []
        """What is there but could not be read and was done without, for the log of whoever has one to empty it."""

    def read(self, path: str) -> bytes:
        """Return the file's whole text; raises OSError (FileNotFoundError, PermissionError, ...) naming it."""
        descriptor = self._open.get(path)
        if descriptor is None:
            return self._first(path)
        try:
            return _whole(descriptor)
        except OSError as error:
            return self._again(path, error)

    def read_one(self, path: str) -> bytes:
        """Return the text of a file that the kernel makes in one piece, which takes one read, not two.

        That is every file with a single record (fs/seq_file.c, single_open; kernfs without its own iterator):
        not those that list processes, mounts, devices or the CPUs of cpuinfo. Raises OSError as ``read``.
        """
        descriptor = self._open.get(path)
        if descriptor is None:
            return self._first(path)
        try:
            data = os.pread(descriptor, ONE, 0)
            return data if len(data) < ONE else _whole(descriptor)
        except OSError as error:
            return self._again(path, error)

    def done_without(self, error: OSError) -> None:
        """Note what is there but could not be read; what is absent is no failure."""
        if error.errno not in ABSENT and len(self.failures) < MOST_FAILURES:
            self.failures.append(error)

    def _again(self, path: str, error: OSError) -> bytes:
        """Open a file anew whose descriptor failed; raise its error if that can't help."""
        os.close(self._open.pop(path))
        if error.errno not in GONE:
            raise OSError(error.errno, error.strerror, path) from error
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

    def forget(self, path: str) -> None:
        """Close a file that is not read any more."""
        if (descriptor := self._open.pop(path, None)) is not None:
            os.close(descriptor)

    def forget_below(self, directories: Iterable[str]) -> None:
        """Close the files of directories, given by the ends of their paths."""
        parts = tuple(f"{directory}/" for directory in directories)
        for path in [path for path in self._open if any(part in path for part in parts)]:
            self.forget(path)

    def close(self) -> None:
        """Close every descriptor; the object can be used on."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()


def _whole(descriptor: int) -> bytes:
    """Read from the start until nothing comes: seq_file may return less than asked for in mid-text."""
    parts = [os.pread(descriptor, CHUNK, 0)]
    offset = len(parts[0])
    while parts[-1]:
        parts.append(os.pread(descriptor, CHUNK, offset))
        offset += len(parts[-1])
    return b"".join(parts)

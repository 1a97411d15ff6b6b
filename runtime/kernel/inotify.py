"""Is told when a file grows or a directory changes (inotify(7)), by a descriptor that select(2) waits for."""

from __future__ import annotations

import os

from runtime.kernel.syscalls import _checked, _libc

MODIFY, MOVED_TO, CREATE, DELETE = 0x2, 0x80, 0x100, 0x200
"""include/uapi/linux/inotify.h"""
CHUNK = 1 << 16


class Watch:
    """One instance, closed when it is left."""

    def __init__(self) -> None:
        self.descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")

    def add(self, path: str, mask: int) -> None:
        """Watch a path; raises OSError."""
        _checked(_libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask), "inotify_add_watch", path)

    def drain(self) -> None:
        """Forget what has been told."""
        try:
            while os.read(self.descriptor, CHUNK):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Watch no more."""
        os.close(self.descriptor)

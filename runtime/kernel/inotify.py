"""Is told when a file grows or a directory changes (inotify(7)), by a descriptor that select(2) waits for."""

from __future__ import annotations

import os

from lxcfs_py.libc import call, checked

MODIFY, MOVED_TO, CREATE, DELETE = 0x2, 0x80, 0x100, 0x200
"""include/uapi/linux/inotify.h"""
CHUNK = 1 << 16


class Watch:
    """One instance, closed when it is left."""

    def __init__(self) -> None:
        self.descriptor = checked(call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")

    def add(self, path: str, mask: int) -> None:
        """Watch a path; raises OSError."""
        checked(call("inotify_add_watch", self.descriptor, os.fsencode(path), mask), "inotify_add_watch", path)

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

"""What is special about pressure files: they may be missing, they are written to, and polling them waits."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pyfuse3

from lxcfs_py.container import owner
from lxcfs_py.fuse.triggers import NO_TRIGGER, READY, WRITER, privileged
from lxcfs_py.procfs import pressure as texts
from lxcfs_py.views.pressure import FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.container import Container
    from lxcfs_py.fuse.triggers import Triggers
    from lxcfs_py.reader import Reader


class Pressure:
    """The pressure files of one worker; a ``path`` is one of ``FILES``, a container None for the host's own."""

    def __init__(self, reader: Reader, triggers: Triggers) -> None:
        self._reader, self._triggers = reader, triggers

    def mode(self, path: str, container: Container | None) -> int:
        """Return the file's permissions; raises FUSEError ENOENT where there is none."""
        if not FILES[path].exists(self._reader, container):
            raise pyfuse3.FUSEError(errno.ENOENT)
        return FILES[path].mode(self._reader)

    def read(self, path: str, container: Container) -> bytes:
        """Return the text; raises FUSEError for what the kernel does not say: the host's is never handed out."""
        try:
            return FILES[path].read(self._reader, container)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None

    def right(self, pid: int) -> bool:
        """Say whether who opens a file may set any trigger."""
        return privileged(self._reader.host.proc, pid)

    def write(
        self, handle: int, path: str, container: Container | None, text: bytes, *, right: bool, resent: bool
    ) -> int:  # fmt: skip
        """Set a trigger with the right of who opened the file; raises FUSEError with the kernel's errno.

        ``resent`` as ``Triggers.write`` has it.
        """
        file = FILES[path]
        source = file.source(self._reader, container) if container else file.host(self._reader)
        if source is None:
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)
        trigger = texts.trigger(text)
        if trigger is None:
            raise pyfuse3.FUSEError(errno.EINVAL)
        whose = owner(container.key) if container else ""
        if number := self._triggers.write(handle, whose, source, trigger.text, privileged=right, resent=resent):
            raise pyfuse3.FUSEError(number)
        return len(text)

    def poll(self, handle: int, path: str, wake: Callable[[], bytes]) -> int:
        """Return what poll(2) says of any served file; ``wake`` makes what is to be written when it says more."""
        if path not in FILES:
            return READY
        return self._triggers.poll(handle, wake()) if handle & WRITER else NO_TRIGGER

    def close(self, handle: int) -> None:
        """Close what was opened for writing."""
        self._triggers.close(handle)

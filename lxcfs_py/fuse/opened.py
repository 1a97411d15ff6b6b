"""Open files: whose each is, and what it says, made when a read begins at 0."""

from __future__ import annotations

import errno
import marshal
from typing import TYPE_CHECKING, NamedTuple

import pyfuse3

from lxcfs_py import views
from lxcfs_py.container import Container
from lxcfs_py.counters import FALLBACKS, HOST, NAMES
from lxcfs_py.views import pressure as pressures

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.counters import Row
    from lxcfs_py.fuse.pressure import Pressure
    from lxcfs_py.reader import Reader
    from lxcfs_py.shared import Shared

MOST_KNOWN = 2048
"""Of how many the meaning is remembered."""
MOST_OWN = 1024
"""And of how many open files."""
NUMBERS = {name: number for number, name in enumerate(NAMES)}


class File(NamedTuple):
    """What an open file is: a path within a tree, and whose it is; None for the host's."""

    path: str
    container: Container | None
    privileged: bool
    """Whether who opened it for writing has CAP_SYS_RESOURCE."""
    number: int
    """What its reads are counted under: in ``NAMES``, the last for all that are not named there."""
    cell: int
    """And the container's."""
    view: Callable[[Reader, Container], bytes] | None
    """What makes the text; None where it is the host's, or pressure's."""


def _view(path: str, container: Container | None) -> Callable[[Reader, Container], bytes] | None:
    return None if container is None or path in pressures.FILES else views.view(path)


class OpenFiles:
    """One worker's way to the open files of all. What goes wrong raises FUSEError or OSError."""

    def __init__(
        self,
        worker: int,
        reader: Reader,
        shared: Shared,
        row: Row,
        pressure: Pressure,
        log: Callable[[str, str, Exception, int], None],
    ) -> None:
        self._worker, self._reader, self._shared = worker, reader, shared
        self._row, self._pressure, self._log = row, pressure, log
        self._abouts: dict[tuple[str, str, bool], tuple[Container | None, bytes]] = {}
        self._files: dict[bytes, File] = {}
        self._containers: dict[str, Container] = {}
        self._own: dict[int, tuple[File, int]] = {}
        """What was opened here, as ``file`` returns it. Another worker may have closed it since."""

    def open(self, path: str, container: Container | None, pid: int, *, right: bool = False) -> int:
        """Return the handle of a file that a process opens."""
        key = container.key if container else ""
        known = self._abouts.get((path, key, right))
        if known is None or (known[0] is not container and known[0] != container):
            if len(self._abouts) >= MOST_KNOWN:
                self._abouts.clear()
            about = marshal.dumps((path, container.packed if container else None, right))
            known = self._abouts[path, key, right] = container, about
        handle = self._shared.open(self._worker, known[1], pid, key)
        if file := self._files.get(known[1]):
            if len(self._own) >= MOST_OWN:
                self._own.clear()
            self._own[handle] = file, pid
        else:
            self._own.pop(handle, None)  # numbers come round
        return handle

    def close(self, handle: int) -> None:
        """Give a handle back."""
        self._own.pop(handle, None)
        self._shared.release(handle)

    def file(self, handle: int) -> tuple[File, int]:
        """Return what a handle stands for, perhaps another worker's, and which process opened it."""
        opened = self._shared.opened(handle)
        if opened is None:
            raise pyfuse3.FUSEError(errno.EBADF)
        return self._file(opened.about), opened.pid

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Make the text when a read begins at 0; hand out pieces of it afterwards, anew if it was not kept."""
        own = self._own.get(handle)
        if own is None or not self._shared.is_open(handle):  # (which also ends all doubt of it)
            own = self.file(handle)
        if offset:
            length, kept = self._shared.kept(handle)
            if 0 <= length <= offset:
                return b""
            if kept:
                return self._shared.text(handle, offset, min(size, length - offset))
        file, pid = own
        text = self._text(file, pid)
        whole = len(text) <= size and not offset
        self._shared.keep(handle, text, whole=whole)
        self._row.read(file.number, file.cell)
        return text if whole else text[offset : offset + size]

    def length(self, path: str, container: Container | None, pid: int) -> int:
        """Return how many bytes a file has now."""
        return len(self._text(File(path, container, False, 0, 0, _view(path, container)), pid))

    def _file(self, about: bytes) -> File:
        found = self._files.get(about)
        if found is None:
            path, packed, right = marshal.loads(about)  # noqa: S302  (written by a worker)
            if len(self._files) >= MOST_KNOWN:
                self._files.clear()
                self._containers.clear()
            whose = packed and self._container(Container.unpacked(packed))
            number, cell = NUMBERS.get(path, len(NAMES) - 1), self._cell(whose.key) if whose else HOST
            found = self._files[about] = File(path, whose, right, number, cell, _view(path, whose))
        return found

    def _container(self, container: Container) -> Container:
        """Return the one that all files of a container have in common."""
        known = self._containers.get(container.key)
        if known != container:
            self._containers[container.key] = container
            return container
        return known

    def _cell(self, key: str) -> int:
        cell = self._row.cell(key)
        if cell < 0:
            self._files.clear()
            self._own.clear()
            self._row.forget()
            cell = self._row.cell(key)
        return cell

    def _text(self, file: File, pid: int) -> bytes:
        path, container, make = file.path, file.container, file.view
        if container is None:
            return self._reader.host_bytes(path)
        if make is None:
            return self._pressure.read(path, container)
        failures = self._reader.files.failures
        try:
            return make(self._reader, container)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  (a container gets the host's file rather than none)
            self._row.words[FALLBACKS] += 1
            self._log(path, container.key, error, pid)
        finally:
            while failures:
                self._log(path, container.key, failures.pop(), pid)
        try:
            return self._reader.host_bytes(path)
        except OSError as error:  # which is what was logged
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None

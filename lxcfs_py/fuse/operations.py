"""What a worker answers: pyfuse3's handlers over the tree, each within one boundary that nothing passes.

Nothing is kept in the process that another worker would need: inodes and open files are in shared memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pyfuse3

from lxcfs_py import registry, tree
from lxcfs_py.container import Callers, Container, Live, by_registration
from lxcfs_py.counters import UNIQUE
from lxcfs_py.errors import Error
from lxcfs_py.files import affordable
from lxcfs_py.fuse.boundary import boundary
from lxcfs_py.fuse.opened import OpenFiles
from lxcfs_py.fuse.protocol import RESENT
from lxcfs_py.fuse.triggers import WRITER
from lxcfs_py.served import LONG, PASSED, ROOT_ONLY
from lxcfs_py.views import cpus, pressure

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.counters import Row
    from lxcfs_py.fuse.pressure import Pressure
    from lxcfs_py.nodes import Nodes
    from lxcfs_py.reader import Reader
    from lxcfs_py.shared import Shared

PAGE = 4096
GUESS_SECONDS = 1.0
"""How long it may take a long text for a page: a runtime that binds it asks, and does not care."""
SIZE_SECONDS = 60.0
"""How long the kernel may keep the size of a long text."""
FOREVER_SECONDS = 3600.0
"""How long the kernel may keep what does not change; names of containers it asks for each time."""
HOST_SECONDS = 1.0
"""And what is the host's, which comes and goes with a module; what a CPU has is there for some callers only."""
MOST_KNOWN = 4096
"""Of how many inodes the meaning is remembered."""


class Operations(pyfuse3.Operations):
    """The handlers of one worker."""

    enable_acl = False
    enable_writeback_cache = False
    supports_dot_lookup = False

    wake_message: Callable[[pyfuse3.PollHandle], bytes]
    """``driver.Session``'s; set when a session is served."""

    def __init__(
        self,
        worker: int,
        reader: Reader,
        shared: Shared,
        nodes: Nodes,
        log: Callable[[str, str, Exception, int], None],
        pressure: Pressure,
        row: Row,
    ) -> None:
        super().__init__()
        self._reader, self._shared, self._nodes, self.log = reader, shared, nodes, log
        self._callers = Callers(reader.host, reader.files, affordable(1024))
        self._live = Live(reader.host, reader.files, affordable(4096))
        nodes.gone = lambda path: path.startswith(tree.CONTAINERS) and self._live.gone(tree.split(path)[0])
        self._places: dict[int, tuple[str, str]] = {}
        self._pressure, self.words = pressure, row.words
        self._opened = OpenFiles(worker, reader, shared, row, pressure, log)

    # Who and what.

    def owner(self, inode: int, pid: int) -> str:
        """Return whose share of the workers' time a request about an inode uses up, "" where nobody is known."""
        try:
            return self._place(inode)[0] or self._callers.namespace(pid)
        except OSError:  # a number of somebody who has gone
            return ""

    def _place(self, inode: int) -> tuple[str, str]:
        """Return the container (``ID@START``, "" for by caller) and the path of an inode, as ``tree.split``."""
        found = self._places.get(inode)
        if found is None:
            if len(self._places) >= MOST_KNOWN:
                self._places.clear()
            found = self._places[inode] = tree.split(self._nodes.path(inode))
        return found

    def _container(self, name: str, pid: int) -> Container | None:
        """Return a registered container, or for no name the caller's; raises FUSEError ESTALE once it has ended."""
        if not name:
            return self._callers.container(pid)
        try:
            return self._live.container(name)
        except Error:
            raise pyfuse3.FUSEError(errno.ESTALE) from None

    def _whose(self, path: str, pid: int) -> Container | None:
        """Return the container whose file a path is for a caller; None for the host's own."""
        return self._container(tree.split(path)[0], pid)

    def _host_path(self, path: str, pid: int) -> str:
        """Return where the host has what is passed on; raises FileNotFoundError for a CPU that is not seen."""
        rest = tree.split(path)[1]
        if cpus.number(rest) is not None and (found := self._whose(path, pid)):
            rest = cpus.path_for(self._reader, found, rest)
        return f"{self._reader.host.sys}/{rest.removeprefix('sys/')}"

    def _attributes(self, path: str, pid: int) -> pyfuse3.EntryAttributes:
        """Return what stat(2) shall say; raises FUSEError ENOENT for what is not there."""
        container, rest = tree.split(path)
        entry = pyfuse3.EntryAttributes()
        passed = None
        if rest in pressure.FILES:
            whose = self._container(container, pid) if container else None
            entry.st_mode = stat.S_IFREG | self._pressure.mode(rest, whose)
        elif tree.is_view(rest):
            entry.st_mode = stat.S_IFREG | (0o400 if rest in ROOT_ONLY else 0o444)
        elif rest in PASSED or tree.is_passed(rest):
            try:
                passed = os.lstat(self._host_path(path, pid))
            except OSError as error:
                raise pyfuse3.FUSEError(error.errno or errno.ENOENT) from None
            entry.st_mode = passed.st_mode & ~0o222
        elif tree.children(rest, container=bool(container)) is not None or path == tree.CONTAINERS:
            entry.st_mode = stat.S_IFDIR | 0o555
        else:
            raise pyfuse3.FUSEError(errno.ENOENT)
        entry.st_ino = self._nodes.inode(path)  # last: a name that is not there must not use up a number
        entry.st_nlink = 2 if stat.S_ISDIR(entry.st_mode) else 1
        entry.st_size = passed.st_size if passed else PAGE if stat.S_ISREG(entry.st_mode) else 0
        entry.st_blksize = PAGE
        keep = FOREVER_SECONDS if passed is None else HOST_SECONDS if cpus.number(rest) is None else 0.0
        entry.attr_timeout = GUESS_SECONDS if rest in LONG else keep
        entry.entry_timeout = 0.0 if container and not rest else keep
        return entry

    @boundary
    def lookup(self, parent: int, name: bytes, ctx: Any = None) -> pyfuse3.EntryAttributes:
        """See pyfuse3.Operations."""
        return self._entry(self._nodes.path(parent), os.fsdecode(name), ctx.pid)

    def _entry(self, at: str, text: str, pid: int) -> pyfuse3.EntryAttributes:
        """Return what is at a name in a directory; a container is there for whoever reaches it.

        What was bound on purpose is opened without a look-up, by whoever sees it.
        """
        if at == tree.CONTAINERS:
            if not registry.is_id(text):
                raise pyfuse3.FUSEError(errno.ENOENT)
            try:
                found = by_registration(self._reader.host, self._reader.files, text)
            except Error:
                found = None
            if found is None or not self._callers.reaches(pid, found.init_pid):
                raise pyfuse3.FUSEError(errno.ENOENT)
            text = found.key
        return self._attributes(tree.join(at, text), pid)

    @boundary
    def getattr(self, inode: int, ctx: Any = None) -> pyfuse3.EntryAttributes:
        """See pyfuse3.Operations.

        The size is in whole pages, as sysfs has it: programs know that there is less, and read to the end. (Of a
        size of 0 the kernel would hand out nothing for sendfile(2).)
        """
        path = self._nodes.path(inode)
        entry = self._attributes(path, ctx.pid)
        container, rest = tree.split(path)
        if rest in LONG:
            entry.attr_timeout = SIZE_SECONDS
            with contextlib.suppress(pyfuse3.FUSEError):  # the container has ended
                length = self._opened.length(rest, self._container(container, ctx.pid), ctx.pid)
                entry.st_size = -(-length // PAGE) * PAGE
        return entry

    @boundary
    def readlink(self, inode: int, ctx: Any = None) -> bytes:
        """See pyfuse3.Operations."""
        path = self._nodes.path(inode)
        return os.fsencode(cpus.target(tree.split(path)[1], os.readlink(self._host_path(path, ctx.pid))))

    @boundary
    def opendir(self, inode: int, ctx: Any = None) -> int:
        """Note who asks: how many CPUs there are depends on it."""
        path = self._nodes.path(inode)
        return self._opened.open(path, self._whose(path, ctx.pid), ctx.pid)

    def _names(self, path: str, pid: int) -> list[str]:
        container, rest = tree.split(path)
        if path == tree.CONTAINERS:
            return list(registry.ids(self._reader.host))
        ours = tree.children(rest, container=bool(container)) or ()
        theirs: list[str] = []
        if rest in PASSED or tree.is_passed(rest):
            theirs, found = os.listdir(self._host_path(path, pid)), self._whose(path, pid)
            theirs = cpus.listed(self._reader, found, rest, theirs) if found else theirs
        return sorted({*ours, *theirs})

    @boundary
    def readdir(self, fh: int, start_id: int, token: Any) -> None:
        """See pyfuse3.Operations; names are numbered in their order."""
        file, pid = self._opened.file(fh)
        at = file.path
        for number, name in enumerate(self._names(at, pid)):
            if number < start_id:
                continue
            try:
                entry = self._entry(at, name, pid)
            except (pyfuse3.FUSEError, OSError):
                continue
            if not pyfuse3.readdir_reply(token, os.fsencode(name), entry, number + 1):
                break

    # Reading: ``reading`` answers what the kernel asks of files, libfuse never hears of it.

    def opened(self, inode: int, flags: int, pid: int) -> int:
        """Return the handle of a file that a process opens; what it says is decided when a read begins."""
        name, path = self._place(inode)
        if not flags & (os.O_WRONLY | os.O_RDWR):
            return self._opened.open(path, self._container(name, pid), pid)
        if path not in pressure.FILES:
            raise pyfuse3.FUSEError(errno.EACCES)
        return self._opened.open(path, self._container(name, pid), pid, right=self._pressure.right(pid)) | WRITER

    def piece(self, handle: int, offset: int, size: int) -> bytes:
        """Make the text when a read begins at 0; hand out pieces of it afterwards, anew if it was not kept."""
        return self._opened.read(handle & ~WRITER, offset, size)

    def whose(self, handle: int) -> bytes:
        """Return whose share of the workers' time a request about an open file uses up."""
        return self._shared.whose(handle & ~WRITER)

    @boundary
    def flush(self, fh: int) -> None:
        """Say that there is no such request, so that the kernel never sends another."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    def closed(self, handle: int) -> None:
        """Give an open file's handle back."""
        self._opened.close(handle & ~WRITER)
        if handle & WRITER:
            self._pressure.close(handle)

    @boundary
    def releasedir(self, fh: int) -> None:
        """See pyfuse3.Operations."""
        self._opened.close(fh)

    @boundary
    def statfs(self, ctx: Any = None) -> pyfuse3.StatvfsData:
        """See pyfuse3.Operations."""
        found = pyfuse3.StatvfsData()
        found.f_bsize = found.f_frsize = 4096
        found.f_namemax = 255
        return found

    # Pressure triggers (Documentation/accounting/psi.rst).

    @boundary
    def write(self, fh: int, off: int, buf: bytes) -> int:
        """Set a trigger, wherever in the file it is written."""
        if not fh & WRITER:
            raise pyfuse3.FUSEError(errno.EBADF)
        file = self._opened.file(fh & ~WRITER)[0]
        resent = bool(self.words[UNIQUE] & RESENT)
        return self._pressure.write(fh, file.path, file.container, buf, right=file.privileged, resent=resent)

    @boundary
    def poll(self, inode: int, fh: int, handle: pyfuse3.PollHandle | None, ctx: Any) -> int:
        """Say what may be done with an open file; never ENOSYS, by which the kernel would not ask for any again."""
        path = self._place(inode)[1]
        return self._pressure.poll(fh, path, lambda: self.wake_message(handle) if handle else b"")

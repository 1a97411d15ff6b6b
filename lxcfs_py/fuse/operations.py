"""What a worker answers: pyfuse3's handlers over the tree, each within one boundary that nothing passes.

Nothing is kept in the process that another worker would need: inodes and open files are in shared memory.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyfuse3

from lxcfs_py import container as containers
from lxcfs_py import registry, tree
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Callers, Container
from lxcfs_py.errors import Error
from lxcfs_py.fuse.pressure import WRITER, Pressure
from lxcfs_py.views import VIEWS, pressure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lxcfs_py.nodes import Nodes
    from lxcfs_py.reader import Reader
    from lxcfs_py.shared import Shared

Handler = TypeVar("Handler", bound="Callable[..., Awaitable[Any]]")
FOREVER_SECONDS = 3600.0
"""How long the kernel may keep what does not change; names of containers it asks for each time."""


def boundary(handler: Handler) -> Handler:
    """Turn whatever goes wrong into an errno and a line of the log: an exception would end the mount."""

    @functools.wraps(handler)
    async def guarded(self: Operations, *args: Any) -> Any:
        try:
            return await handler(self, *args)
        except pyfuse3.FUSEError:
            raise
        except OSError as error:
            self.log(handler.__name__, "", error)
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except Exception as error:  # noqa: BLE001  (see above)
            self.log(handler.__name__, "", error)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return cast("Handler", guarded)


class Operations(pyfuse3.Operations):
    """The handlers of one worker."""

    enable_acl = False
    enable_writeback_cache = False
    supports_dot_lookup = False

    wake_message: Callable[[pyfuse3.PollHandle], bytes]
    """``driver.Takeover``'s; set when a session is served."""

    def __init__(
        self,
        worker: int,
        reader: Reader,
        shared: Shared,
        nodes: Nodes,
        log: Callable[[str, str, Exception], None],
        pressure: Pressure,
    ) -> None:
        super().__init__()
        self._worker, self._reader, self._shared, self._nodes, self.log = worker, reader, shared, nodes, log
        self._callers = Callers(reader.host, reader.files)
        self._registered: dict[str, Container] = {}
        self._pressure = pressure

    # Who and what.

    def _container(self, name: str) -> Container:
        """Return a registered container by ``ID@START``; raises FUSEError ESTALE once it has ended."""
        host, files = self._reader.host, self._reader.files
        found = self._registered.get(name)
        if found is None:
            try:
                found = containers.by_registration(host, files, name.rpartition("@")[0])
            except Error:
                raise pyfuse3.FUSEError(errno.ESTALE) from None
            while len(self._registered) >= 4096:
                self._registered.pop(next(iter(self._registered)))
            self._registered[name] = found
        elif containers.start_ticks(host, files, found.init_pid) != found.init_start_ticks:
            del self._registered[name]
            raise pyfuse3.FUSEError(errno.ESTALE)
        if found.key != name:
            raise pyfuse3.FUSEError(errno.ESTALE)
        return found

    def _host_path(self, path: str) -> str:
        return f"{self._reader.host.sys}/{path.removeprefix('sys/')}"

    def _attributes(self, path: str) -> pyfuse3.EntryAttributes:
        """Return what stat(2) shall say; raises FUSEError ENOENT for what is not there."""
        container, rest = tree.split(path)
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = self._nodes.inode(path)
        passed = None
        if rest in pressure.FILES:
            whose = self._container(container) if container else None
            entry.st_mode = stat.S_IFREG | self._pressure.mode(rest, whose)
        elif tree.is_view(rest):
            entry.st_mode = stat.S_IFREG | 0o444
        elif tree.children(rest, container=bool(container)) is not None or path == tree.CONTAINERS:
            entry.st_mode = stat.S_IFDIR | 0o555
        elif tree.is_passed(rest):
            try:
                passed = os.lstat(self._host_path(rest))
            except OSError as error:
                raise pyfuse3.FUSEError(error.errno or errno.ENOENT) from None
            entry.st_mode = passed.st_mode & ~0o222
        else:
            raise pyfuse3.FUSEError(errno.ENOENT)
        entry.st_nlink = 2 if stat.S_ISDIR(entry.st_mode) else 1
        entry.st_size = passed.st_size if passed and stat.S_ISLNK(passed.st_mode) else 0
        entry.st_blksize = 4096
        entry.attr_timeout = entry.entry_timeout = 0.0 if container or passed else FOREVER_SECONDS
        return entry

    @boundary
    async def lookup(self, parent: int, name: bytes, ctx: Any = None) -> pyfuse3.EntryAttributes:
        """See pyfuse3.Operations."""
        at, text = self._nodes.path(parent), os.fsdecode(name)
        if at == tree.CONTAINERS:
            if not registry.is_id(text):
                raise pyfuse3.FUSEError(errno.ENOENT)
            try:
                text = containers.by_registration(self._reader.host, self._reader.files, text).key
            except Error:
                raise pyfuse3.FUSEError(errno.ENOENT) from None
        return self._attributes(tree.join(at, text))

    @boundary
    async def getattr(self, inode: int, ctx: Any = None) -> pyfuse3.EntryAttributes:
        """See pyfuse3.Operations."""
        return self._attributes(self._nodes.path(inode))

    @boundary
    async def readlink(self, inode: int, ctx: Any = None) -> bytes:
        """See pyfuse3.Operations."""
        return os.fsencode(os.readlink(self._host_path(tree.split(self._nodes.path(inode))[1])))

    @boundary
    async def opendir(self, inode: int, ctx: Any = None) -> int:
        """See pyfuse3.Operations; the handle is the inode."""
        return inode

    def _names(self, path: str) -> list[str]:
        container, rest = tree.split(path)
        if path == tree.CONTAINERS:
            return list(registry.ids(self._reader.host))
        ours = tree.children(rest, container=bool(container)) or ()
        theirs = os.listdir(self._host_path(rest)) if rest == tree.CPU or tree.is_passed(rest) else []
        return sorted({*ours, *theirs})

    @boundary
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        """See pyfuse3.Operations; names are numbered in their order."""
        at = self._nodes.path(fh)
        for number, name in enumerate(self._names(at)):
            if number < start_id:
                continue
            try:
                entry = await self.lookup(fh, os.fsencode(name))
            except pyfuse3.FUSEError:
                continue
            if not pyfuse3.readdir_reply(token, os.fsencode(name), entry, number + 1):
                break

    # Reading.

    @boundary
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        """Note whose file it is; what it says is decided when a read begins."""
        path = self._nodes.path(inode)
        name, rest = tree.split(path)
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR))
        if writes and rest not in pressure.FILES:
            raise pyfuse3.FUSEError(errno.EACCES)
        if not tree.is_view(rest):
            found = None
        elif name:
            found = self._container(name)
        else:
            found = self._callers.container(ctx.pid)
        about = found and (
            found.key, dict(found.cgroup.paths), found.init_pid, found.init_start_ticks, found.boottime_offset_nsec,
        )  # fmt: skip
        if not writes:
            return pyfuse3.FileInfo(fh=self._shared.open(self._worker, (path, about, ctx.pid)), direct_io=True)
        fh = self._shared.open(self._worker, (path, about, ctx.pid, self._pressure.right(ctx.pid)))
        return pyfuse3.FileInfo(fh=fh | WRITER, direct_io=True)

    @boundary
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Make the text when a read begins at 0; hand out pieces of it afterwards."""
        opened = self._shared.opened(fh & ~WRITER)
        if opened is None:
            raise pyfuse3.FUSEError(errno.EBADF)
        if off and opened.length >= 0:
            return b"" if off >= opened.length else self._shared.text(fh, off, min(size, opened.length - off))
        text = self._text(*opened.about[:3])
        self._shared.keep(fh, text, whole=len(text) <= size and not off)
        return text[off : off + size]

    def _text(self, path: str, about: tuple[Any, ...] | None, pid: int) -> bytes:
        rest = tree.split(path)[1]
        if about is None:
            return self._reader.host_bytes(rest)
        key, paths, *numbers = about
        found = Container(key, Cgroup(paths), *numbers)
        if rest in pressure.FILES:
            return self._pressure.read(rest, found)
        try:
            return VIEWS[rest].read(self._reader, found)
        except Exception as error:  # noqa: BLE001  (a container gets the host's file rather than none)
            self.log(f"{path} for pid {pid}", key, error)
            return self._reader.host_bytes(rest)

    @boundary
    async def flush(self, fh: int) -> None:
        """Say that there is no such request, so that the kernel never sends another."""
        raise pyfuse3.FUSEError(errno.ENOSYS)

    @boundary
    async def release(self, fh: int) -> None:
        """See pyfuse3.Operations."""
        self._shared.release(fh & ~WRITER)
        self._pressure.close(fh)

    @boundary
    async def releasedir(self, fh: int) -> None:
        """Nothing is kept."""

    @boundary
    async def forget(self, inode_list: Any) -> None:
        """Nothing is counted: a number stays its path's."""

    @boundary
    async def statfs(self, ctx: Any = None) -> pyfuse3.StatvfsData:
        """See pyfuse3.Operations."""
        found = pyfuse3.StatvfsData()
        found.f_bsize = found.f_frsize = 4096
        found.f_namemax = 255
        return found

    # Pressure triggers (Documentation/accounting/psi.rst).

    @boundary
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Set a trigger, wherever in the file it is written."""
        opened = self._shared.opened(fh & ~WRITER)
        if opened is None or not fh & WRITER:
            raise pyfuse3.FUSEError(errno.EBADF)
        path, about, _pid, right = opened.about
        found = about and Container(about[0], Cgroup(about[1]))
        return self._pressure.write(fh, tree.split(path)[1], found, buf, right=right)

    @boundary
    async def poll(self, inode: int, fh: int, handle: pyfuse3.PollHandle | None, ctx: Any) -> int:
        """Say what may be done with an open file; never ENOSYS, by which the kernel would not ask for any again."""
        path = tree.split(self._nodes.path(inode))[1]
        return self._pressure.poll(fh, path, lambda: self.wake_message(handle) if handle else b"")

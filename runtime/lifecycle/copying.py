"""Files into and out of a container, as a tar stream between two processes.

What is copied is reached by descriptors, never by a path that a container could bend meanwhile; what comes out of a
container is its say alone, and is unpacked with the care an image's layer gets (``images.unpack``).
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile

from lxcfs_py.errors import Error, reason
from runtime.images import entry as entries
from runtime.images.entry import Entry, refuse
from runtime.images.stream import CHUNK, Stream
from runtime.images.unpack import Unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

MAX_DEPTH = 300
"""Directories in one another: each keeps a descriptor open."""
SPECIAL = 0o6000
"""S_ISUID and S_ISGID."""


def _name(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


class _Out:
    """What tarfile asks of a file it writes to; that of a pipe can't tell where it is."""

    def __init__(self, out: IO[bytes]) -> None:
        self.out, self.position = out, 0

    def tell(self) -> int:
        """Return how much was written."""
        return self.position

    def write(self, data: bytes) -> int:
        """Write all of it."""
        self.position += len(data)
        return self.out.write(data)


class Packer:
    """Writes files to a tar."""

    def __init__(self, out: IO[bytes]) -> None:
        form: dict[str, Any] = {"format": tarfile.PAX_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}
        there: Any = _Out(out)
        self.tar = tarfile.TarFile(fileobj=there, mode="w", copybufsize=CHUNK, **form)
        self._first: dict[tuple[int, int], str] = {}
        """The first name of each file that has several."""

    def add(self, at: int, name: bytes, called: bytes, depth: int = 0) -> None:
        """Add what a directory has by a name, and all below it; ``called`` is its name in the tar, or "" for none."""
        about = os.stat(name, dir_fd=at, follow_symlinks=False)
        kind = about.st_mode & 0o170000
        if depth > MAX_DEPTH:
            raise Error(f"{_name(called)[:80]}...: more than {MAX_DEPTH} directories deep", "copy a part of it")
        if kind == 0o100000:
            self.file(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at), called)
        elif kind == 0o040000:
            self.directory(
                os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at), called, depth
            )
        elif kind != 0o140000:  # a socket means nothing without its server
            info = self._info(about, called)
            info.type = {0o120000: tarfile.SYMTYPE, 0o020000: tarfile.CHRTYPE, 0o060000: tarfile.BLKTYPE}.get(
                kind, tarfile.FIFOTYPE
            )
            if kind == 0o120000:
                info.linkname = _name(os.readlink(name, dir_fd=at))
            info.devmajor, info.devminor = os.major(about.st_rdev), os.minor(about.st_rdev)
            self.tar.addfile(info)

    def directory(self, at: int, called: bytes, depth: int = 0) -> None:
        """Add a directory, open as ``at``, which is closed; without a name only what is in it."""
        try:
            if called:
                info = self._info(os.fstat(at), called)
                info.type = tarfile.DIRTYPE
                self.tar.addfile(info)
            for child in sorted(map(os.fsencode, os.listdir(at))):
                try:
                    self.add(at, child, called + b"/" + child if called else child, depth + 1)
                except FileNotFoundError:  # removed meanwhile
                    continue
        finally:
            os.close(at)

    def _info(self, about: os.stat_result, called: bytes) -> tarfile.TarInfo:
        info = tarfile.TarInfo(_name(called))
        info.mode, info.uid, info.gid = about.st_mode & 0o7777, about.st_uid, about.st_gid
        info.mtime = about.st_mtime_ns // 10**9
        return info

    def file(self, descriptor: int, called: bytes) -> None:
        """Add a file, open, which is closed."""
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if about.st_mode & 0o170000 != 0o100000:  # replaced since it was looked at
                raise Error(f"{_name(called)}: it changes while it is copied", "stop what does that")
            info = self._info(about, called)
            first = (
                self._first.setdefault((about.st_dev, about.st_ino), info.name) if about.st_nlink > 1 else info.name
            )
            if first != info.name:
                info.type, info.linkname = tarfile.LNKTYPE, first
                self.tar.addfile(info)
                return
            info.size = about.st_size
            try:
                self.tar.addfile(info, file)
            except BrokenPipeError:  # who reads has left
                raise
            except OSError as error:
                raise Error(f"{info.name}: {error.strerror or error}", "stop what writes to it meanwhile") from error

    def close(self) -> None:
        """End the tar."""
        self.tar.close()


class Piped(Stream):
    """A tar that comes by a pipe, uncompressed."""

    def __init__(self, file: IO[bytes], what: str) -> None:  # not super's, which opens a file
        self._hashed, self.what, self.progress, self.position, self._header = True, what, None, 0, 0
        self._hash, self._process, self.program, self.limit, self._file = hashlib.sha256(), None, "", 1 << 62, file


class Nothing:
    """The layers below a directory that is no layer."""

    def find(self, _path: bytes) -> None:
        """Return that nothing is there."""


class Into(Unpack):
    """Puts a tar's files into a directory that is there; of a layer's marks it knows nothing.

    ``owner``: everything becomes theirs, else it stays whose it was. ``wary``: what comes is a container's, so no
    device of it becomes the host's, and no program of it runs with its owner's rights.
    """

    def __init__(self, root: int, owner: tuple[int, int] | None, *, wary: bool) -> None:
        lower: Any = Nothing()
        super().__init__(root, lower)
        self.owner, self.wary = owner, wary
        for kind in (entries.WHITEOUT, entries.CLEARED):
            self._kinds[kind] = self._marked

    def _marked(self, found: Entry, _stream: Stream) -> None:
        raise refuse(found.path, "a name by which layers of images mark what is deleted")

    def _changed(self, found: Entry) -> Entry:
        if self.owner is not None:
            found = found.replace(uid=self.owner[0], gid=self.owner[1])
        return found.replace(mode=found.mode & ~SPECIAL, xattrs=()) if self.wary else found

    def _attributes(self, descriptor: int, found: Entry) -> None:
        super()._attributes(descriptor, self._changed(found))

    def _unopened(self, found: Entry) -> None:
        super()._unopened(self._changed(found))

    def _node(self, found: Entry, stream: Stream) -> None:
        if self.wary and found.mode & 0o170000 != 0o010000:
            raise refuse(found.path, "a device, which would be the host's")
        super()._node(found, stream)

    def _directory(self, found: Entry, stream: Stream) -> None:
        if found.path:  # the directory itself stays as it is
            super()._directory(found, stream)

    def _remove(self, parent: int, name: bytes, path: bytes) -> None:
        about = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if about.st_mode & 0o170000 == 0o040000:
            raise refuse(path, "a directory is there already")
        super()._remove(parent, name, path)

    def _mkdir(self, parent: int, name: bytes, path: bytes, *, implied: bool = False) -> int:
        try:
            about = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            about = None
        if about is not None and about.st_mode & 0o170000 != 0o040000:
            raise refuse(path, "it is a directory, and something else is there already")
        return super()._mkdir(parent, name, path, implied=implied)


def transfer(pack: Callable[[Packer], None], unpack: Callable[[Stream], object]) -> None:
    """Have one process pack while this one unpacks; raises the Error of either."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    said, say = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(reader)
        _pack(pack, writer, say)
    os.close(writer)
    os.close(say)
    problem: Error | None = None
    try:
        with open(reader, "rb") as file, Piped(file, "what is copied") as stream:
            unpack(stream)
    except Error as error:
        problem = error
    finally:
        with open(said, "rb") as file:
            text = file.read().decode("utf-8", "replace")
        os.waitpid(child, 0)
    if text:
        raise Error(text)
    if problem is not None:
        raise problem


def _pack(pack: Callable[[Packer], None], writer: int, say: int) -> None:
    """Be the process that packs."""
    code = 1
    try:
        with open(writer, "wb", CHUNK) as file:
            packer = Packer(file)
            pack(packer)
            packer.close()
        code = 0
    except BrokenPipeError:  # who unpacks has given up, and says why
        pass
    except Error as error:
        os.write(say, str(error).encode("utf-8", "surrogateescape"))
    except OSError as error:
        os.write(say, reason(error).encode("utf-8", "surrogateescape"))
    finally:
        sys.stdout.flush()
        os._exit(code)

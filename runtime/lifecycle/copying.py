"""Files into and out of a container, as a tar stream between two processes.

What is copied is reached by descriptors, never by a path that a container could bend meanwhile; what comes out of a
container is its say alone, and is unpacked with the care an image's layer gets (``images.unpack``).
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import time

from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from runtime.images import entry as entries
from runtime.images.entry import Entry, refuse
from runtime.images.pack import seconds
from runtime.images.stream import CHUNK, Out, Stream, measured
from runtime.images.unpack import Unpack
from runtime.kernel import beheld
from runtime.kernel.attributes import OVERLAY
from runtime.process import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from runtime.lifecycle.inside import Place

MAX_DEPTH = 300
"""Directories in one another: each keeps a descriptor open."""
TYPES = {0o120000: tarfile.SYMTYPE, 0o020000: tarfile.CHRTYPE, 0o060000: tarfile.BLKTYPE}
SPECIAL = 0o6000
"""S_ISUID and S_ISGID."""


def _name(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def kept(place: Place, attribute: str) -> bool:
    """Say whether an extended attribute means the same there: others than users' own may hold ids of the host."""
    return place.maps == (ids.SAME, ids.SAME) or attribute.startswith("user.")


class Packer:
    """Writes files to a tar."""

    def __init__(self, out: IO[bytes], place: Place) -> None:
        """``place`` is where the files are: owners are told as they are called there."""
        self.place = place
        form: dict[str, Any] = {"format": tarfile.PAX_FORMAT, "encoding": "utf-8", "errors": "surrogateescape"}
        there: Any = Out(out)
        self.tar = tarfile.TarFile(fileobj=there, mode="w", copybufsize=CHUNK, **form)
        self._first: dict[tuple[int, int], str] = {}
        """The first name of each file that has several."""

    def add(self, at: int, name: bytes, called: bytes, depth: int = 0) -> None:
        """Add what a directory has by a name, and all below it; ``called`` is its name in the tar, or "" for none."""
        place = beheld.look(name, at)
        try:
            about = os.fstat(place)
            kind = about.st_mode & 0o170000
            if depth > MAX_DEPTH:
                raise Error(f"{_name(called)[:80]}...: more than {MAX_DEPTH} directories deep", "copy a part of it")
            if kind == 0o100000:
                opened = beheld.read(place)
            elif kind == 0o040000:
                opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
            else:
                self._unopened(place, about, called)
                return
        finally:
            os.close(place)
        self.file(opened, called) if kind == 0o100000 else self.directory(opened, called, depth)

    def _unopened(self, place: int, about: os.stat_result, called: bytes) -> None:
        """Add what is neither file nor directory; a socket means nothing without its server."""
        kind, info = about.st_mode & 0o170000, self._info(about, called)
        if kind == 0o140000:
            return
        info.type = TYPES.get(kind, tarfile.FIFOTYPE)
        if kind == 0o120000:
            info.linkname = _name(os.readlink(b"", dir_fd=place))
        info.devmajor, info.devminor = os.major(about.st_rdev), os.minor(about.st_rdev)
        self.tar.addfile(info)

    def _attributes(self, descriptor: int) -> dict[str, str]:
        """Return extended attributes as pax has them, but for the host's ids (ACLs) where others hold."""
        return {
            entries.XATTR + name: _name(os.getxattr(descriptor, name))
            for name in os.listxattr(descriptor)
            if not name.startswith(OVERLAY) and kept(self.place, name)
        }

    def directory(self, at: int, called: bytes, depth: int = 0) -> None:
        """Add a directory, open as ``at``, which is closed; without a name only what is in it."""
        try:
            if called:
                info = self._info(os.fstat(at), called)
                info.type = tarfile.DIRTYPE
                info.pax_headers = {**info.pax_headers, **self._attributes(at)}
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
        uid, gid = map(ids.inner, self.place.maps, (about.st_uid, about.st_gid))
        info.mode = about.st_mode & 0o7777
        info.uid, info.gid = (ids.OVERFLOW if id_ is None else id_ for id_ in (uid, gid))
        info.mtime = about.st_mtime_ns // 10**9
        if about.st_mtime_ns % 10**9:
            info.pax_headers = {"mtime": seconds(about.st_mtime_ns)}
        return info

    def file(self, descriptor: int, called: bytes) -> None:
        """Add a file, open, which is closed."""
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            info, key = self._info(about, called), (about.st_dev, about.st_ino)
            first = self._first.setdefault(key, info.name) if about.st_nlink > 1 else info.name
            if first != info.name:
                info.type, info.linkname = tarfile.LNKTYPE, first
                self.tar.addfile(info)
                return
            info.pax_headers = {**info.pax_headers, **self._attributes(file.fileno())}
            try:
                content, info.size = measured(file, about.st_size, info.name)
                self.tar.addfile(info, content)
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


class Above(Record):
    """A directory that had to be made for what is copied, in the words of stat(2)."""

    st_uid: int
    st_gid: int
    st_mtime_ns: int
    st_mode: int = 0o040755


class Nothing:
    """The layers below a directory that is no layer; ``owner`` gets the directories that must be made."""

    def __init__(self, owner: tuple[int, int]) -> None:
        self.owner = owner

    def find(self, _path: bytes) -> Above:
        """Return what a directory is like that is not there."""
        return Above(*self.owner, time.time_ns())


class Into(Unpack):
    """Puts a tar's files into a directory that is there; of a layer's marks it knows nothing.

    ``place`` is what the directory is of. With ``archive`` owners and extended attributes are kept, by the ids they
    have there; else everything becomes ``owner``'s. ``wary``: what comes is a container's, so no device of it becomes
    the host's, and no program of it runs with its owner's rights.
    """

    def __init__(self, root: int, place: Place, owner: tuple[int, int], *, archive: bool, wary: bool) -> None:
        lower: Any = Nothing(owner)
        super().__init__(root, lower)
        self.place, self.owner, self.archive, self.wary = place, owner, archive, wary
        for kind in (entries.WHITEOUT, entries.CLEARED):
            self._kinds[kind] = self._marked

    def _marked(self, found: Entry, _stream: Stream) -> None:
        raise refuse(found.path, "a name by which layers of images mark what is deleted")

    def _changed(self, found: Entry) -> Entry:
        if not self.archive:
            found = found.replace(uid=self.owner[0], gid=self.owner[1], xattrs=())
        else:
            uid, gid = map(ids.outer, self.place.maps, (found.uid, found.gid))
            if uid is None or gid is None:
                what = f"owned by {found.uid}:{found.gid}, which the container's user namespace has not"
                raise Error(f"{entries.shown(found.path)}: {what}", "leave --archive out: it becomes root's")
            xattrs = tuple(pair for pair in found.xattrs if kept(self.place, pair[0]))
            found = found.replace(uid=uid, gid=gid, xattrs=xattrs)
        return found.replace(mode=found.mode & ~SPECIAL, xattrs=()) if self.wary else found

    def _failed(self, found: Entry, error: OSError) -> Error:
        return Error(f"{_name(found.path)}: can't be written: {error.strerror or error}", "is the directory yours?")

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


def transfer(pack: Callable[[Packer], None], place: Place, unpack: Callable[[Stream], object]) -> None:
    """Have one process pack what is in a place while this one unpacks; raises the Error of either."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    said, say = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(reader)
        _pack(pack, place, writer, say)
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


def _pack(pack: Callable[[Packer], None], place: Place, writer: int, say: int) -> None:
    """Be the process that packs."""
    code = 1
    try:
        with open(writer, "wb", CHUNK) as file:
            packer = Packer(file, place)
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

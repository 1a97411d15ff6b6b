"""From a directory in overlayfs's form to a layer's tar: whiteouts and opaque directories as OCI writes them.

The same directory always gives the same bytes: entries are in order, and owners have no names.
"""

from __future__ import annotations

import errno
import os

from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime.images.entry import MARK, OPAQUE, XATTR
from runtime.images.stream import CHUNK
from runtime.kernel import beheld
from runtime.kernel.attributes import OVERLAY
from runtime.kernel.mountapi import openat2
from runtime.root.lower import is_directory, is_opaque, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from tarfile import TarFile, TarInfo
    from typing import IO, Any

    from runtime.images.store import Blob

REDIRECTS = ("trusted.overlay.redirect", "trusted.overlay.metacopy")
"""By these a directory's or file's content is elsewhere: what a tar can't say."""


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def seconds(nsec: int) -> str:
    """Return a time as pax writes it: exactly, and no longer than it must be."""
    whole, part = divmod(abs(nsec), 10**9)
    sign = "-" if nsec < 0 else ""
    return f"{sign}{whole}.{part:09}".rstrip("0").rstrip(".") if part else f"{sign}{whole}"


class Found(Record):
    """One entry."""

    path: bytes
    directory: int
    """Where it is, open."""
    name: bytes
    about: os.stat_result


class Pack:
    """One directory, open as ``root``, which a container may be changing: nothing outside is ever reached.

    Paths in ``left_out``, and what is below them, are no part of the layer.
    """

    def __init__(self, root: int, left_out: Collection[bytes] = ()) -> None:
        self.root, self.left_out = root, frozenset(left_out)
        self._first: dict[tuple[int, int], str] = {}
        """The first name of each file that has several."""

    def _walk(self) -> Iterator[Found]:
        """Yield all there is, each directory before what it holds, however deep that is."""
        todo = [b""]
        while todo:
            above = todo.pop()
            inner = []
            directory = openat2(self.root, above or b".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in sorted(map(os.fsencode, os.listdir(directory))):
                    path = above + b"/" + name if above else name
                    if path in self.left_out:
                        continue
                    found = Found(path, directory, name, os.stat(name, dir_fd=directory, follow_symlinks=False))
                    yield found
                    if is_directory(found.about):
                        inner.append(path)
            finally:
                os.close(directory)
            todo += reversed(inner)

    def write(self, out: IO[bytes] | Blob) -> None:
        """Write the tar."""
        import tarfile

        file: Any = out  # of a file's methods tarfile calls write and tell
        with tarfile.TarFile(
            fileobj=file,
            mode="w",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
            copybufsize=CHUNK,
        ) as tar:
            for found in self._walk():
                if is_whiteout(found.about):
                    above = found.path.rpartition(b"/")[0]
                    self._mark(tar, b"/".join(filter(None, (above, MARK + found.name))))
                    continue
                self._entry(tar, found)
                if is_directory(found.about) and is_opaque(found.directory, found.name):
                    self._mark(tar, found.path + b"/" + OPAQUE)
            if is_opaque(self.root):
                self._mark(tar, OPAQUE)

    def _mark(self, tar: TarFile, path: bytes) -> None:
        import tarfile

        info = tarfile.TarInfo(_text(path))
        info.mode = 0
        tar.addfile(info)

    def _entry(self, tar: TarFile, found: Found) -> None:
        import tarfile

        about = found.about
        kind = about.st_mode & 0o170000
        if kind == 0o140000:  # a socket: it means nothing without its server, and tar has none
            return
        info = tarfile.TarInfo(_text(found.path))
        info.mode, info.uid, info.gid = about.st_mode & 0o7777, about.st_uid, about.st_gid
        info.mtime = about.st_mtime_ns // 10**9
        info.pax_headers = self._headers(found)
        info.type = {
            0o040000: tarfile.DIRTYPE, 0o120000: tarfile.SYMTYPE, 0o020000: tarfile.CHRTYPE,
            0o060000: tarfile.BLKTYPE, 0o010000: tarfile.FIFOTYPE, 0o100000: tarfile.REGTYPE,
        }[kind]  # fmt: skip
        if not is_directory(about) and about.st_nlink > 1:
            first = self._first.setdefault((about.st_dev, about.st_ino), info.name)
            if first != info.name:
                info.type, info.linkname, info.pax_headers = tarfile.LNKTYPE, first, {}
        if info.type == tarfile.SYMTYPE:
            info.linkname = _text(os.readlink(found.name, dir_fd=found.directory))
        elif info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(about.st_rdev), os.minor(about.st_rdev)
        elif info.type == tarfile.REGTYPE:
            self._file(tar, info, found)
            return
        tar.addfile(info)

    def _file(self, tar: TarFile, info: TarInfo, found: Found) -> None:
        place = beheld.look(found.name, found.directory)
        try:
            if not os.path.samestat(os.fstat(place), found.about):
                raise FileNotFoundError(errno.ENOENT, "another is there now", info.name)
            opened = beheld.read(place)
        finally:
            os.close(place)
        with open(opened, "rb") as file:
            info.size = os.fstat(opened).st_size
            try:
                tar.addfile(info, file)
            except OSError as error:
                raise Error(f"{info.name}: {error.strerror or error}", "stop what writes to it meanwhile") from error

    def _headers(self, entry: Found) -> dict[str, str]:
        about = entry.about
        found = {"mtime": seconds(about.st_mtime_ns)} if about.st_mtime_ns % 10**9 or about.st_mtime_ns < 0 else {}
        where = b"/proc/self/fd/%d/%b" % (entry.directory, entry.name)
        for name in sorted(os.listxattr(where, follow_symlinks=False)):
            if name in REDIRECTS:
                hint = "mount overlays with redirect_dir=off and metacopy=off"
                raise Error(f"{_text(entry.path)!r}: its content lies elsewhere ({name})", hint)
            if not name.startswith(OVERLAY):
                found[XATTR + name] = _text(os.getxattr(where, name, follow_symlinks=False))
        return found

"""From a directory in overlayfs's form to a layer's tar: whiteouts and opaque directories as OCI writes them.

The same directory always gives the same bytes: entries are in order, and owners have no names.
"""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime.images.entry import MARK, OPAQUE, XATTR
from runtime.images.stream import CHUNK
from runtime.kernel.attributes import OVERLAY
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


def _seconds(nsec: int) -> str:
    """Return a time as pax writes it: exactly, and no longer than it must be."""
    whole, part = divmod(abs(nsec), 10**9)
    sign = "-" if nsec < 0 else ""
    return f"{sign}{whole}.{part:09}".rstrip("0").rstrip(".") if part else f"{sign}{whole}"


class Pack:
    """One directory, open as ``root``; paths in ``left_out``, and what is below them, are no part of the layer."""

    def __init__(self, root: int, left_out: Collection[bytes] = ()) -> None:
        self.root, self.left_out = root, frozenset(left_out)
        self._first: dict[tuple[int, int], str] = {}
        """The first name of each file that has several."""

    def _names(self, path: bytes) -> list[bytes]:
        return sorted(os.listdir(b"/proc/self/fd/%d/%b" % (self.root, path)))

    def _walk(self, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield what is in a directory, each directory before what it holds, however deep that is."""
        todo = [path]
        while todo:
            above = todo.pop()
            inner = []
            for name in self._names(above):
                where = above + b"/" + name if above else name
                if where in self.left_out:
                    continue
                about = os.stat(where, dir_fd=self.root, follow_symlinks=False)
                yield where, about
                if is_directory(about):
                    inner.append(where)
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
            for path, about in self._walk(b""):
                if is_whiteout(about):
                    above, _, name = path.rpartition(b"/")
                    self._mark(tar, b"/".join(filter(None, (above, MARK + name))))
                    continue
                self._entry(tar, path, about)
                if is_directory(about) and is_opaque(self.root, path):
                    self._mark(tar, path + b"/" + OPAQUE)
            if is_opaque(self.root):
                self._mark(tar, OPAQUE)

    def _mark(self, tar: TarFile, path: bytes) -> None:
        import tarfile

        info = tarfile.TarInfo(_text(path))
        info.mode = 0
        tar.addfile(info)

    def _entry(self, tar: TarFile, path: bytes, about: os.stat_result) -> None:
        import tarfile

        kind = about.st_mode & 0o170000
        if kind == 0o140000:  # a socket: it means nothing without its server, and tar has none
            return
        info = tarfile.TarInfo(_text(path))
        info.mode, info.uid, info.gid = about.st_mode & 0o7777, about.st_uid, about.st_gid
        info.mtime = about.st_mtime_ns // 10**9
        info.pax_headers = self._headers(path, about)
        info.type = {
            0o040000: tarfile.DIRTYPE, 0o120000: tarfile.SYMTYPE, 0o020000: tarfile.CHRTYPE,
            0o060000: tarfile.BLKTYPE, 0o010000: tarfile.FIFOTYPE, 0o100000: tarfile.REGTYPE,
        }[kind]  # fmt: skip
        if not is_directory(about) and about.st_nlink > 1:
            first = self._first.setdefault((about.st_dev, about.st_ino), info.name)
            if first != info.name:
                info.type, info.linkname, info.pax_headers = tarfile.LNKTYPE, first, {}
        if info.type == tarfile.SYMTYPE:
            info.linkname = _text(os.readlink(path, dir_fd=self.root))
        elif info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            info.devmajor, info.devminor = os.major(about.st_rdev), os.minor(about.st_rdev)
        elif info.type == tarfile.REGTYPE:
            self._file(tar, info, path)
            return
        tar.addfile(info)

    def _file(self, tar: TarFile, info: TarInfo, path: bytes) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, dir_fd=self.root), "rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            try:
                tar.addfile(info, file)
            except OSError as error:
                raise Error(f"{info.name}: {error.strerror or error}", "stop what writes to it meanwhile") from error

    def _headers(self, path: bytes, about: os.stat_result) -> dict[str, str]:
        found = {"mtime": _seconds(about.st_mtime_ns)} if about.st_mtime_ns % 10**9 or about.st_mtime_ns < 0 else {}
        where = b"/proc/self/fd/%d/%b" % (self.root, path)
        for name in sorted(os.listxattr(where, follow_symlinks=False)):
            if name in REDIRECTS:
                hint = "mount overlays with redirect_dir=off and metacopy=off"
                raise Error(f"{_text(path)!r}: its content lies elsewhere ({name})", hint)
            if not name.startswith(OVERLAY):
                found[XATTR + name] = _text(os.getxattr(where, name, follow_symlinks=False))
        return found

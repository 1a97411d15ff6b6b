"""The files an image comes in: in a tar, read where they lie, or in a directory."""

from __future__ import annotations

import os
import posixpath

from lxcfs_py.errors import Error, reason
from runtime.images import manifest
from runtime.images.stream import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from tarfile import TarInfo

MAX_LINKS = 5


class Archive:
    """The files of a tar, uncompressed and seekable, by name."""

    def __init__(self, path: str, what: str) -> None:
        import tarfile

        self.what = what
        self._file = open(path, "rb")  # noqa: SIM115
        try:
            with tarfile.TarFile(fileobj=self._file, mode="r", encoding="utf-8", errors="surrogateescape") as tar:
                self._members = {posixpath.normpath(info.name): info for info in tar}
        except tarfile.TarError as error:
            raise Error(f"{what}: not a tar archive, or damaged ({error})", "get the archive again") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _member(self, name: str, links: int = MAX_LINKS) -> TarInfo:
        found = self._members.get(posixpath.normpath(name))
        if found is not None and (found.issym() or found.islnk()) and links:  # docker save, of layers that are equal
            above = posixpath.dirname(found.name) if found.issym() else ""
            return self._member(posixpath.join(above, found.linkname), links - 1)
        if found is None or not found.isreg() or found.sparse:
            raise Error(f"{self.what}: {name!r} is not in it", "the archive is incomplete")
        return found

    def has(self, name: str) -> bool:
        """Say whether it has that file."""
        return name in self._members

    def text(self, name: str) -> bytes:
        """Return a small file's content."""
        if self._member(name).size > manifest.MAX_TEXT_BYTES:
            raise Error(f"{self.what}: {name!r} is too large", "the archive is damaged or hostile")
        return b"".join(self.pieces(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's content."""
        found = self._member(name)
        at, left = found.offset_data, found.size
        while left > 0:
            data = os.pread(self._file.fileno(), min(left, CHUNK), at)
            if not data:
                raise Error(f"{self.what}: cut off", "get the archive again")
            at, left = at + len(data), left - len(data)
            yield data


class Directory:
    """The files of a directory, as those of an archive."""

    def __init__(self, path: str) -> None:
        self.what = path

    def close(self) -> None:
        """Nothing is open."""

    def has(self, name: str) -> bool:
        """Say whether it has that file."""
        return os.path.isfile(f"{self.what}/{name}")

    def text(self, name: str) -> bytes:
        """Return a small file's content."""
        data = b""
        for piece in self.pieces(name):
            data += piece
            if len(data) > manifest.MAX_TEXT_BYTES:
                raise Error(f"{self.what}/{name}: too large", "the image is damaged or hostile")
        return data

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's content."""
        try:
            descriptor = os.open(f"{self.what}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                if os.fstat(descriptor).st_mode & 0o170000 != 0o100000:  # S_IFMT, S_IFREG: others may never end
                    raise Error(f"{self.what}/{name}: not a file", "the image is damaged or hostile")
                while data := file.read(CHUNK):
                    yield data
        except OSError as error:
            raise Error(reason(error), "the image is incomplete") from error

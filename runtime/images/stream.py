"""A tar's bytes as they are read: uncompressed by the usual programs, hashed and counted as they pass."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen
    from tarfile import TarInfo
    from types import TracebackType
    from typing import IO, Any, Self

    from runtime.images.progress import Progress

CHUNK = 1 << 20
MAX_HEADER_BYTES = 4 << 20
"""What tarfile may ask for between two files: headers, pax headers, long names, maps of sparse files."""
MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
)
"""What compressed files begin with, and the program (and Debian's package) that reads them, on another CPU."""
MIN_LIMIT_BYTES, MAX_RATIO = 1 << 30, 200
"""What a compressed layer may become: a gibibyte in any case, and 200 times its size (text shrinks to a tenth)."""
KERNELS = (0, 4096)
"""What files of procfs and sysfs say their size is, whatever they hold."""
MAX_KERNELS_BYTES = 16 << 20
MAX_ENTRIES = 5_000_000
END = ("EOFHeaderError", "EmptyHeaderError")
"""tarfile's own words for an archive's end, with a mark and without one."""


def compression(head: bytes) -> str:
    """Return the program that reads what begins so, "" for what is not compressed."""
    return next((program for magic, program in MAGIC if head.startswith(magic)), "")


def limit_bytes(compressed_bytes: int, program: str) -> int:
    """Return how many bytes a file of that size may become."""
    return max(MIN_LIMIT_BYTES, MAX_RATIO * compressed_bytes) if program else compressed_bytes


class Stream:
    """The uncompressed bytes of a file, forwards only. ``what`` is its name in errors.

    What is only looked through is not ``hashed``, and not read where it need not be.
    """

    def __init__(self, path: str, what: str = "", progress: Progress | None = None, *, hashed: bool = True) -> None:
        import hashlib

        self._hashed = hashed
        self.what = what or path
        self.progress = progress
        self.position = 0
        self._header = 0
        """How much of this entry's header was read."""
        self._hash = hashlib.sha256()
        self._process: Popen[bytes] | None = None
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(source).st_size
            if progress is not None:
                progress.whole(0 if compression(os.pread(source, 6, 0)) else size)
            self.program = compression(os.pread(source, 6, 0))
            self.limit = limit_bytes(size, self.program)
            self._file = self._uncompressed(source) if self.program else open(os.dup(source), "rb", CHUNK)  # noqa: SIM115
        finally:
            os.close(source)

    def _uncompressed(self, source: int) -> IO[bytes]:
        from subprocess import PIPE, Popen

        try:
            self._process = Popen([self.program, "-dcq"], stdin=source, stdout=PIPE, stderr=PIPE, bufsize=CHUNK)
        except FileNotFoundError:
            raise Error(
                f"{self.what}: compressed by {self.program}, which is not here", f"apt install {self.program}"
            ) from None
        assert self._process.stdout is not None
        return self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def tell(self) -> int:
        """Return how many bytes have passed."""
        return self.position

    def read(self, size: int) -> bytes:
        """Return that many bytes, fewer only at the end."""
        self._header += size
        if not 0 <= size <= self._header <= MAX_HEADER_BYTES:
            raise Error(f"{self.what}: a header of {self._header} bytes", "the archive is damaged or hostile")
        data = self._file.read(size)
        self._passed(data)
        return data

    def _passed(self, data: bytes) -> None:
        self.position += len(data)
        if self._hashed:
            self._hash.update(data)
        if self.progress is not None:
            self.progress.at(self.position)
        if self.position > self.limit:
            hint = f"more than {MAX_RATIO} times its size: a bomb"
            raise Error(f"{self.what}: unpacks to more than {self.limit >> 20} MiB", hint)

    def seek(self, position: int) -> None:
        """Go on to a place that has not passed yet; another is an Error, which only a damaged tar makes."""
        if position < self.position:
            raise Error(f"{self.what}: its entries overlap", "the archive is damaged or hostile")
        if not self._hashed and self._process is None:
            self.position = self._file.seek(position)
            return
        for _ in self.pieces(position - self.position, short=True):
            pass

    def pieces(self, size: int, *, short: bool = False) -> Iterator[bytes]:
        """Yield the next ``size`` bytes in pieces; raises an Error if there are not as many, unless ``short``."""
        while size > 0:
            data = self._file.read(min(size, CHUNK))
            if not data:
                if short:
                    return
                raise Error(f"{self.what}: cut off", "get the archive again")
            self._passed(data)
            size -= len(data)
            yield data

    def finish(self) -> str:
        """Read what is left and return the digest of all; raises an Error if it could not be uncompressed."""
        while data := self._file.read(CHUNK):
            self._passed(data)
        if self._process is not None:
            said = self._process.communicate()[1].decode("utf-8", "replace").strip()
            if self._process.returncode:
                raise Error(f"{self.what}: {said or self.program + ' failed'}", "get the archive again")
        return f"sha256:{self._hash.hexdigest()}"

    def entries(self) -> Iterator[TarInfo]:
        """Yield the tar's headers; what a file holds is to be read by ``pieces`` before the next one is asked for."""
        import tarfile

        what = self.what

        class Strict(tarfile.TarInfo):
            """tarfile takes what is no header, after the first one, for the end of the archive."""

            @classmethod
            def fromtarfile(cls, tar: tarfile.TarFile) -> Strict:
                try:
                    return super().fromtarfile(tar)
                except (tarfile.HeaderError, ValueError, OverflowError, IndexError, RecursionError) as error:
                    if type(error).__name__ in END:
                        raise
                    raise Error(f"{what}: not a tar archive, or damaged ({error})", "get the archive again") from None

        try:
            file: Any = self  # of a file's methods tarfile calls those three
            tar: Any  # typeshed knows no members
            with tarfile.TarFile(
                fileobj=file, mode="r", tarinfo=Strict, encoding="utf-8", errors="surrogateescape"
            ) as tar:
                count = 0
                while (info := tar.next()) is not None:
                    count += 1
                    if count > MAX_ENTRIES:
                        raise Error(f"{what}: more than {MAX_ENTRIES} entries", "a bomb")
                    tar.members.clear()
                    yield info
                    self._header = 0
        except tarfile.TarError as error:
            raise Error(f"{what}: not a tar archive, or damaged ({error})", "get the archive again") from None


class Out:
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


def measured(file: IO[bytes], size: int, what: str) -> tuple[IO[bytes], int]:
    """Return what has a file's content, and how much that is: a file of the kernel's tells no size, and is read here.

    Raises an Error for one that is far longer than it says.
    """
    if size not in KERNELS:
        return file, size
    import io

    data = file.read(MAX_KERNELS_BYTES + 1) or b""
    if len(data) > MAX_KERNELS_BYTES:
        raise Error(f"{what}: it is longer than it says", "stop what writes to it")
    return io.BytesIO(data), len(data)

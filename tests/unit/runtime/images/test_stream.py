"""Reading tars: compressions, limits, damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.errors import Error
from runtime.images import stream
from runtime.images.stream import Stream
from tests.images import digest, member, tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAR = tar(member("a", data=b"x" * 1000), member("b", "dir"), member("c", data=b"y" * 600))


def zstd(data: bytes) -> bytes:
    """Compress."""
    return subprocess.run(["zstd", "-q"], input=data, capture_output=True, check=True).stdout


def names(path: Path) -> tuple[list[str], str]:
    """Return the entries' names, and the digest of the whole."""
    with Stream(str(path)) as found:
        return [info.name for info in found.entries()], found.finish()


def drain(found: Stream, more: int) -> None:
    """Read each file's content, and more than there is of it."""
    for info in found.entries():
        for _ in found.pieces(info.size + more):
            pass


def put(path: Path, data: bytes) -> Path:
    """Write a file."""
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd, lzma.compress, bz2.compress])
def test_compressions(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """The content, and the digest of the uncompressed tar, are the same whatever it is compressed by."""
    assert names(put(tmp_path / "t", compress(TAR))) == (["a", "b", "c"], digest(TAR))


def test_a_gzip_of_several_members(tmp_path: Path) -> None:
    """Members one after the other are one file, as gzip(1) and pigz(1) have it."""
    parts = gzip.compress(TAR[:700]) + gzip.compress(TAR[700:])
    assert names(put(tmp_path / "t", parts)) == (["a", "b", "c"], digest(TAR))


@pytest.mark.parametrize(
    "data",
    [b"", *(TAR[:cut] for cut in (1, 511, 700, 1535, 2100, 2570)), gzip.compress(TAR[:700]), gzip.compress(TAR)[:-20],
     gzip.compress(TAR)[:-8] + bytes(8), zstd(TAR)[:-9]],
)  # fmt: skip
def test_a_tar_that_is_cut(tmp_path: Path, data: bytes) -> None:
    """A tar cut off in a header or a file, or damaged, is an Error, never a shorter tar."""
    with pytest.raises(Error):
        names(put(tmp_path / "t", data))


def test_garbage_between_entries(tmp_path: Path) -> None:
    """What is no header is an Error, where tarfile alone would take it for the end."""
    with pytest.raises(Error, match="not a tar archive, or damaged"):
        names(put(tmp_path / "t", TAR[:1536] + b"x" * 512 + TAR[2048:]))


def test_without_an_end_mark(tmp_path: Path) -> None:
    """An archive that ends without two zero blocks is whole, as for GNU tar."""
    assert names(put(tmp_path / "t", TAR[: 512 + 1024 + 512 + 512 + 1024]))[0] == ["a", "b", "c"]


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes far more than its size is given up at the limit."""
    monkeypatch.setattr(stream, "MIN_LIMIT_BYTES", 1 << 20)
    path = put(tmp_path / "t", gzip.compress(tar(member("a", data=bytes(8 << 20)))))
    with Stream(str(path)) as found, pytest.raises(Error, match="a bomb"):
        drain(found, 0)
    assert found.position <= found.limit + stream.CHUNK


def test_a_long_header(tmp_path: Path) -> None:
    """A name or pax header that claims gibibytes is refused before it is read."""
    info, _ = member("././@LongLink")
    info.type, info.size = b"L", 4 << 30
    data = info.tobuf()
    with pytest.raises(Error, match="header of 4294967808 bytes"):
        names(put(tmp_path / "t", data))


def test_headers_of_headers(tmp_path: Path) -> None:
    """Pax headers one in another, and a map of a sparse file without an end, are refused."""
    info, _ = member("x")
    info.type, info.size = b"x", 0
    with pytest.raises(Error, match="damaged"):
        names(put(tmp_path / "t", info.tobuf() * 3000 + TAR))
    sparse, _ = member("s", data=b"x" * (8 << 20))
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    data = tar((sparse, b"900000000\n" + b"0\n" * (4 << 20)))
    with pytest.raises(Error, match="a header of 4194"):
        names(put(tmp_path / "u", data))


def test_many_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a limit to the number of entries."""
    monkeypatch.setattr(stream, "MAX_ENTRIES", 2)
    with pytest.raises(Error, match="more than 2 entries"):
        names(put(tmp_path / "t", TAR))


def test_going_back(tmp_path: Path) -> None:
    """A sparse map that takes more than the file has would read the next header as content: an Error."""
    with Stream(str(put(tmp_path / "t", TAR))) as found, pytest.raises(Error, match="overlap"):
        drain(found, 500)


@pytest.mark.parametrize(
    ("size", "program", "limit"), [(100, "", 100), (100, "gzip", 1 << 30), (1 << 30, "zstd", 200 << 30)]
)
def test_limits(size: int, program: str, limit: int) -> None:
    """A plain tar is as large as it is; a compressed one may become a gibibyte, or 200 times its size."""
    assert stream.limit_bytes(size, program) == limit


def test_a_program_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program the Error says which package has it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="apt install zstd"):
        names(put(tmp_path / "t", b"\x28\xb5\x2f\xfd...."))

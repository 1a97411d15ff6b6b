"""Archives become trees and trees archives; nothing outside of a tree is touched."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.images.pack import Pack
from runtime.images.stream import Stream
from runtime.images.unpack import Unpack
from runtime.root.lower import Lower
from tests.images import digest, member, tar, tree

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

UID, GID = os.getuid(), os.getgid()


def unpack(data: bytes, path: Path, lowers: Iterable[Path] = ()) -> str:
    """Unpack a tar into ``path/tree`` and return its digest."""
    (path / "tar").write_bytes(data)
    (path / "tree").mkdir()
    root, lower = os.open(path / "tree", os.O_RDONLY), Lower([str(p) for p in lowers])
    try:
        with Stream(str(path / "tar")) as stream:
            work = Unpack(root, lower)
            try:
                return work.run(stream)
            finally:
                work.close()
    finally:
        lower.close()
        os.close(root)


def attempt(data: bytes, path: Path) -> str:
    """Unpack a tar; return what the Error said, "" for none."""
    try:
        unpack(data, path)
    except Error as error:
        return str(error)
    return ""


def pack(path: Path) -> bytes:
    """Return the tar of ``path/tree``."""
    out, root = io.BytesIO(), os.open(path / "tree", os.O_RDONLY)
    try:
        Pack(root).write(out)
    finally:
        os.close(root)
    return out.getvalue()


NAMES = st.sampled_from(["a", "b", "c", "é", "x" * 120, "d\udcff", "\n", "w" * 255, "-", "~ "])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TIMES = st.sampled_from([0, 1, 1_700_000_000_123_456_789, 5_000_000_000_000_000_000, -1_500_000_000])
CONTENT = st.one_of(st.binary(max_size=700), st.just(b"z" * 70_000))
XATTRS = st.dictionaries(st.sampled_from(["user.a", "user.b.c"]), st.sampled_from([b"v", b"\xff\x00=", b"n\n"]))


@st.composite
def trees(draw: st.DrawFn) -> dict[str, tuple[Any, ...]]:
    """Make a tree as values: path to kind and what belongs to it."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in draw(st.lists(PATHS, max_size=12)):
        parts = path.split("/")
        above = ["/".join(parts[:end]) for end in range(1, len(parts))]
        if path in found or any(found.get(p, ("dir",))[0] != "dir" for p in above):
            continue
        for p in above:
            found.setdefault(p, ("dir", draw(st.sampled_from([0o755, 0o1777, 0o2700])), draw(TIMES), draw(XATTRS)))
        files = [p for p, item in found.items() if item[0] == "file"]
        kind = draw(st.sampled_from(["file", "file", "dir", "symlink", "fifo", "hardlink"]))
        if kind == "hardlink" and files:
            found[path] = (kind, draw(st.sampled_from(files)))
        elif kind in ("symlink", "hardlink"):
            found[path] = (
                "symlink",
                draw(TIMES),
                draw(st.sampled_from(["x", "/etc/passwd", "../" * 50, "y" * 300, "é\udcff"])),
            )
        elif kind == "file":
            found[path] = (
                kind,
                draw(st.sampled_from([0o644, 0o4755, 0o000])),
                draw(TIMES),
                draw(XATTRS),
                draw(CONTENT),
            )
        else:
            found[path] = (
                kind,
                draw(st.sampled_from([0o755, 0o600])),
                draw(TIMES),
                *([draw(XATTRS)] if kind == "dir" else []),
            )
    return found


def fields(mode: int, nsec: int, xattrs: dict[str, bytes]) -> dict[str, Any]:
    """Return TarInfo's fields."""
    headers = {f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in xattrs.items()}
    sign, whole = ("-" if nsec < 0 else ""), abs(nsec)
    return {"mode": mode, "pax_headers": {"mtime": f"{sign}{whole // 10**9}.{whole % 10**9:09}", **headers}}


def archive(found: dict[str, tuple[Any, ...]]) -> bytes:
    """Return the tree's tar."""
    members = []
    for path, (kind, *rest) in found.items():
        if kind == "hardlink":
            members.append(member(path, kind, linkname=rest[0]))
        elif kind == "symlink":
            members.append(member(path, kind, linkname=rest[1], **fields(0o777, rest[0], {})))
        else:
            xattrs = rest[2] if len(rest) > 2 else {}
            members.append(member(path, kind, rest[3] if kind == "file" else b"", **fields(rest[0], rest[1], xattrs)))
    return tar(*members)


def expected(found: dict[str, tuple[Any, ...]]) -> dict[str, dict[str, Any]]:
    """Return what ``tests.images.tree`` must say, but for hard links."""
    types = {"file": 0o100000, "dir": 0o040000, "symlink": 0o120000, "fifo": 0o010000}
    told = {}
    for path, item in found.items():
        kind, *rest = item if item[0] != "hardlink" else found[item[1]]
        mode, nsec = (0o777, rest[0]) if kind == "symlink" else rest[:2]
        about: dict[str, Any] = {"mode": oct(types[kind] | mode), "owner": (UID, GID), "mtime_ns": nsec}
        about["xattrs"] = rest[2] if kind in ("file", "dir") else {}
        if kind == "file":
            about["content"] = digest(rest[3])[7:]
        if kind == "symlink":
            about["target"] = rest[1]
        told[path] = about
    return told


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(trees())
def test_there_and_back(found: dict[str, tuple[Any, ...]]) -> None:
    """A tree's archive becomes that very tree, and its archive unpacks to the same again, in the same bytes."""
    with tempfile.TemporaryDirectory() as name:
        first, second = Path(name) / "1", Path(name) / "2"
        first.mkdir()
        second.mkdir()
        data = archive(found)
        assert unpack(data, first) == digest(data)
        there = tree(first / "tree")
        links = {path: item.pop("same_as") for path, item in there.items() if "same_as" in item}
        assert there == expected(found)
        for path, item in found.items():
            if item[0] == "hardlink":
                assert links[path] == links[item[1]]
        again = pack(first)
        unpack(again, second)
        assert {
            **there,
        } == {p: {k: v for k, v in i.items() if k != "same_as"} for p, i in tree(second / "tree").items()}
        assert pack(second) == again


def test_a_sparse_file(tmp_path: Path) -> None:
    """Holes stay holes, whichever way the archive tells them, and the content is the same."""
    (tmp_path / "in").mkdir()
    with (tmp_path / "in/f").open("wb") as file:
        for offset in (1 << 20, 5 << 20):
            file.seek(offset)
            file.write(b"data" * 1024)
        file.truncate(9 << 20)
    for number, form in enumerate(
        (["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0")))
    ):
        where = tmp_path / str(number)
        where.mkdir()
        os.system(f"tar -C {tmp_path}/in -cSf {where}/in.tar {' '.join(form)} f")
        unpack((where / "in.tar").read_bytes(), where)
        made = where / "tree/f"
        assert made.read_bytes() == (tmp_path / "in/f").read_bytes()
        assert made.stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path: Path, form: int) -> None:
    """Names and links of thousands of bytes, in GNU's way and in pax's."""
    long = "/".join(["n" * 200] * 15)
    parts = long.split("/")
    dirs = [member("/".join(parts[:end]), "dir") for end in range(1, len(parts))]
    data = tar(
        *dirs,
        member(long, data=b"x"),
        member("l", "symlink", linkname=long),
        member("h", "hardlink", linkname=long),
        form=form,
    )
    unpack(data, tmp_path)
    assert os.readlink(tmp_path / "tree/l") == long
    assert (tmp_path / "tree/h").samefile(tmp_path / "tree" / long)


def test_entries_twice(tmp_path: Path) -> None:
    """Of two entries of one name the later holds, as for tar and Docker; two directories are one."""
    unpack(
        tar(
            member("f", data=b"one"), member("f", data=b"two"),
            member("d", "dir"), member("d/in"), member("d", "dir", mode=0o700),
            member("e", "dir"), member("e/in"), member("e", data=b"now a file"),
            member("g"), member("g", "dir"), member("g/in"),
            member("l", "symlink", linkname="d"), member("l", "dir"), member("l/own"),
        ),
        tmp_path,
    )  # fmt: skip
    found = tree(tmp_path / "tree")
    assert set(found) == {"d", "e", "f", "g", "l", "d/in", "g/in", "l/own"}
    assert (tmp_path / "tree/f").read_bytes() == b"two"
    assert found["d"]["mode"] == "0o40700"
    assert (tmp_path / "tree/e").read_bytes() == b"now a file"


def test_a_file_where_a_directory_is_needed(tmp_path: Path) -> None:
    """An entry below a file is refused, naming the file."""
    with pytest.raises(Error, match=r"entry 'f'.*is a directory for some entries"):
        unpack(tar(member("f"), member("f/g/h")), tmp_path)


def test_a_hard_link_to_nothing(tmp_path: Path) -> None:
    """A hard link whose target is not there is refused, naming both."""
    with pytest.raises(Error, match="entry 'a': a hard link to 'b/c', which is not in this layer"):
        unpack(tar(member("a", "hardlink", linkname="b/c")), tmp_path)
    (tmp_path / "2").mkdir()
    with pytest.raises(Error, match="to itself"):
        unpack(tar(member("a", "hardlink", linkname="./a")), tmp_path / "2")


def test_directories_without_an_entry(tmp_path: Path) -> None:
    """They are as the layer below has them; where it has none they are root's usual ones."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    lower.mkdir()
    upper.mkdir()
    unpack(tar(member("t", "dir", mode=0o1777, mtime=77), member("t/s", "dir", mode=0o711)), lower)
    if UID:
        return
    unpack(tar(member("t/s/f"), member("n/f")), upper, [lower / "tree"])
    found = tree(upper / "tree")
    assert [found[path]["mode"] for path in ("t", "t/s", "n")] == ["0o41777", "0o40711", "0o40755"]
    assert (found["t"]["mtime_ns"], found["n"]["mtime_ns"]) == (77 * 10**9, 0)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(trees(), st.randoms(use_true_random=False))
def test_damaged_archives(found: dict[str, tuple[Any, ...]], chance: random.Random) -> None:
    """An archive with bytes changed anywhere is unpacked or refused by an Error; nothing outside is touched."""
    data = bytearray(archive(found))
    for _ in range(chance.randint(1, 8)):
        start = chance.randrange(len(data))
        data[start] = chance.randrange(256)
        block = start // 512 * 512
        if chance.random() < 0.7 and block + 512 <= len(data):  # let the header pass its own check
            checksum = sum(data[block : block + 148]) + sum(data[block + 156 : block + 512]) + 256
            data[block + 148 : block + 156] = b"%06o\0 " % checksum
    with tempfile.TemporaryDirectory() as name:
        assert "\n" not in attempt(bytes(data), Path(name))
        assert sorted(os.listdir(name)) == ["tar", "tree"]

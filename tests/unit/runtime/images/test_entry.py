"""What entries of a layer ask for, and what is refused."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.images import entry
from tests.images import member

if TYPE_CHECKING:
    from runtime.images.entry import Entry


def decide(name: str, kind: str = "file", **fields: Any) -> Entry:
    """Return what an entry asks for."""
    return entry.decide(member(name, kind, **fields)[0])


@pytest.mark.parametrize(
    ("name", "path"),
    [("a", b"a"), ("./a", b"a"), ("a//b/./c/", b"a/b/c"), ("a\udcff", b"a\xff"), ("..a/b..", b"..a/b..")],
)
def test_paths(name: str, path: bytes) -> None:
    """Paths lose what means nothing, and keep any byte."""
    assert decide(name, "dir").path == path


@pytest.mark.parametrize(
    ("name", "kind", "path"),
    [
        (".wh.x", entry.WHITEOUT, b"x"), ("a/.wh.x", entry.WHITEOUT, b"a/x"), ("a/.wh..wh..opq", entry.CLEARED, b"a"),
        (".wh..wh..opq", entry.CLEARED, b""), ("a/.wh..wh.aufs", entry.NOTHING, b"a/.wh..wh.aufs"),
        ("a/.why", entry.FILE, b"a/.why"),
    ],
)  # fmt: skip
def test_whiteouts(name: str, kind: str, path: bytes) -> None:
    """Whiteouts are known by their name alone; aufs's own files mean nothing."""
    found = decide(name)
    assert (found.kind, found.path) == (kind, path)


HOSTILE: list[tuple[str, str, dict[str, Any], str]] = [
    ("/etc/passwd", "file", {}, "absolute path"),
    ("../x", "file", {}, r"'\.\.'"),
    ("a/../../x", "dir", {}, r"'\.\.'"),
    ("a", "hardlink", {"linkname": "/etc/shadow"}, "absolute path"),
    ("a", "hardlink", {"linkname": "../../etc/shadow"}, r"'\.\.'"),
    ("a\0b", "file", {}, "zero byte"),
    ("a", "hardlink", {"linkname": "b\0"}, "zero byte"),
    ("a", "symlink", {"linkname": ""}, "leads nowhere"),
    ("a", "symlink", {"linkname": "b\0"}, "leads nowhere"),
    ("a" * 256, "file", {}, "more than 255"),
    ("/".join(["a" * 250] * 17), "file", {}, "more than 4095"),
    (".", "file", {}, "root must be"),
    ("", "symlink", {"linkname": "/etc"}, "root must be"),
    (".wh.a/b", "file", {}, "inside of a whiteout"),
    (".wh.", "file", {}, "whiteout of nothing"),
    ("a/.wh...", "file", {}, "whiteout of nothing"),
    ("a", "char", {"devmajor": 0, "devminor": 0}, "0:0"),
    ("a", "char", {"devmajor": 1 << 20, "devminor": 0}, "can't be"),
    ("a", "file", {"uid": 2**32 - 1}, "no user is"),
    ("a", "file", {"gid": -1}, "no user is"),
    ("a", "file", {"size": -512}, "negative"),
    ("a", "file", {"type": b"M"}, "of a type"),
    ("a", "file", {"sparse": [(0, 10), (5, 10)], "size": 20}, "overlap"),
    ("a", "file", {"sparse": [(0, 30)], "size": 20}, "overlap"),
    ("a", "file", {"sparse": [(-5, 3)], "size": 20}, "overlap"),
]


@pytest.mark.parametrize(("name", "kind", "fields", "why"), HOSTILE)
def test_what_is_refused(name: str, kind: str, fields: dict[str, Any], why: str) -> None:
    """What could lead out, or can't be meant, is refused in one line that names the entry."""
    with pytest.raises(Error, match=why) as refused:
        decide(name, kind, **fields)
    assert str(refused.value).startswith("entry ") and "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_attributes() -> None:
    """Owner, mode, exact time, device and extended attributes; overlayfs's own and the host's labels are left out."""
    headers = {
        "mtime": "12.5", "SCHILY.xattr.user.a": "\udcff\0b", "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "a",
        "SCHILY.xattr.security.ima": "b", "SCHILY.xattr.security.capability": "c", "comment": "x",
    }  # fmt: skip
    found = decide("d", "block", mode=0o104660, uid=7, gid=2**32 - 2, devmajor=8, devminor=1, pax_headers=headers)
    assert (found.uid, found.gid, oct(found.mode)) == (7, 2**32 - 2, "0o64660")
    assert (found.mtime_nsec, found.device) == (12_500_000_000, (8, 1))
    assert found.xattrs == (("user.a", b"\xff\0b"), ("security.capability", b"c"))


@pytest.mark.parametrize(
    ("text", "nsec"),
    [("0", 0), ("1.5", 1_500_000_000), ("1700000000.123456789", 1_700_000_000_123_456_789), ("-1.25", -1_250_000_000),
     ("1.0000000001", 1_000_000_000), ("", 42 * 10**9), ("1e9", 42 * 10**9),
     ("nan", 42 * 10**9), ("9" * 12, 42 * 10**9), ("1.x", 42 * 10**9)],
)  # fmt: skip
def test_times(text: str, nsec: int) -> None:
    """Times of pax are exact to the nanosecond, which tarfile's floats are not; nonsense is left to tarfile."""
    assert entry.nanoseconds(text, 42.0) == nsec
    assert [entry.nanoseconds("x", float(odd)) for odd in ("inf", "nan", "-1e300")] == [0, 0, 0]


@given(st.binary(min_size=512, max_size=512))
def test_any_header_is_decided_or_refused(block: bytes) -> None:
    """Whatever tarfile makes of a header, it asks for something below the root or is refused."""
    mended = block[:148] + b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256) + block[156:]
    try:
        info = tarfile.TarInfo.frombuf(mended, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return
    try:
        found = entry.decide(info)
    except Error:
        return
    assert not found.path.startswith(b"/") and b".." not in found.path.split(b"/") and b"\0" not in found.path

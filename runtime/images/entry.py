"""What an entry of a layer's tar asks for, and what is refused: pure (layer.md of the OCI image specification)."""

from __future__ import annotations

from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime.kernel import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarfile import TarInfo
    from typing import Any

MARK = b".wh."
"""What the name of a whiteout begins with."""
OPAQUE = b".wh..wh..opq"
MAX_NAME, MAX_PATH = 255, 4095
"""NAME_MAX and PATH_MAX, include/uapi/linux/limits.h"""
MAX_ID = 2**32 - 2
XATTR = "SCHILY.xattr."
"""The pax header of an extended attribute, as GNU tar, libarchive and Go write it."""
FILE, DIRECTORY, SYMLINK, HARDLINK, NODE, WHITEOUT, CLEARED, NOTHING = (
    "file", "directory", "symlink", "hardlink", "node", "whiteout", "cleared", "nothing",
)  # fmt: skip
TYPES = {b"3": 0o020000, b"4": 0o060000, b"6": 0o010000}
"""Tar's types of nodes: character and block devices and FIFOs."""


class Entry(Record):
    """One entry, checked."""

    kind: str
    path: bytes
    """Where, relative to the root, without ``.`` and ``..``; b"" is the root. Of a whiteout: what it hides, of
    ``cleared``: the directory whose lower content does not show."""
    mode: int = 0
    """Permission bits; of a node also its type."""
    uid: int = 0
    gid: int = 0
    mtime_nsec: int = 0
    target: bytes = b""
    """A symbolic link's text, or the path that a hard link is another name of."""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    size: int = 0
    regions: tuple[tuple[int, int], ...] = ()
    """Offset and length of a file's data, in the order of the archive; what lies between them is a hole."""

    @property
    def parent(self) -> bytes:
        """The directory it is in."""
        return self.path.rpartition(b"/")[0]

    @property
    def name(self) -> bytes:
        """Its last component."""
        return self.path.rpartition(b"/")[2]


def shown(path: bytes | str) -> str:
    """Return a path as it may be printed: quoted, and not too long."""
    text = repr(path if isinstance(path, str) else path.decode("utf-8", "backslashreplace"))
    return text if len(text) < 200 else f"{text[:190]}...{text[-1]}"


def refuse(path: bytes | str, why: str) -> Error:
    """Return the Error for an entry that is not taken."""
    return Error(f"entry {shown(path)}: {why}", "the archive is damaged or hostile, and nothing of it was kept")


def raw(text: str) -> bytes:
    """Return the bytes that tarfile has read a text from."""
    return text.encode("utf-8", "surrogateescape")


def clean(path: bytes, original: bytes | None = None) -> bytes:
    """Return a relative path without empty components and ``.``; raises an Error for one that could lead out."""
    shown_as = path if original is None else original
    if b"\0" in path:
        raise refuse(shown_as, "a name with a zero byte")
    if path.startswith(b"/"):
        raise refuse(shown_as, "an absolute path")
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise refuse(shown_as, "a path with '..'")
    if any(len(part) > MAX_NAME for part in parts):
        raise refuse(shown_as, f"a name of more than {MAX_NAME} bytes")
    if any(part.startswith(MARK) for part in parts[:-1]):
        raise refuse(shown_as, "something inside of a whiteout")
    whole = b"/".join(parts)
    if len(whole) > MAX_PATH:
        raise refuse(shown_as, f"a path of more than {MAX_PATH} bytes")
    return whole


def nanoseconds(text: str, otherwise: float) -> int:
    """Return a pax time, seconds with a fraction, exactly; ``otherwise``, in seconds, where it is none."""
    whole, _, fraction = text.partition(".")
    digits, limit = whole.removeprefix("-"), 10**11
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12) or not (fraction + "0").isdigit():
        return int(otherwise) * 10**9 if -limit < otherwise < limit else 0
    part = int(f"{fraction:0<9.9}") if fraction else 0
    return int(whole) * 10**9 + (-part if whole.startswith("-") else part)


def _xattrs(info: TarInfo) -> tuple[tuple[str, bytes], ...]:
    return tuple(
        (key[len(XATTR) :], raw(value))
        for key, value in info.pax_headers.items()
        if key.startswith(XATTR) and not attributes.is_hosts(key[len(XATTR) :]) and "\0" not in key
    )


def _regions(info: TarInfo, path: bytes) -> tuple[tuple[int, int], ...]:
    sparse: Any = info.sparse  # pairs, whatever typeshed says
    found: tuple[tuple[int, int], ...] = ((0, info.size),) if sparse is None else tuple(sparse)
    found, end = tuple(region for region in found if region[1]), 0
    for offset, length in found:
        if offset < end or length < 0 or offset + length > info.size:
            raise refuse(path, "a sparse file whose parts overlap")
        end = offset + length
    return found


def _whiteout(path: bytes) -> Entry | None:
    """Return what an entry of a whiteout's name asks for, None for any other name."""
    parent, _, name = path.rpartition(b"/")
    if not name.startswith(MARK):
        return None
    if name == OPAQUE:
        return Entry(CLEARED, parent)
    if name.startswith(MARK + MARK):  # aufs's own files (".wh..wh.aufs"), which mean nothing here
        return Entry(NOTHING, path)
    hidden = name[len(MARK) :]
    if hidden in (b"", b".", b".."):
        raise refuse(path, "a whiteout of nothing")
    return Entry(WHITEOUT, b"/".join(filter(None, (parent, hidden))))


def decide(info: TarInfo) -> Entry:
    """Return what the entry asks for; raises an Error for what is refused."""
    original = raw(info.name)
    path = clean(original)
    if found := _whiteout(path):
        return found
    if not (0 <= info.uid <= MAX_ID and 0 <= info.gid <= MAX_ID):
        raise refuse(original, f"owned by {info.uid}:{info.gid}, which no user is")
    if info.size < 0:
        raise refuse(original, "a negative size")
    entry = Entry(
        DIRECTORY,
        path,
        mode=info.mode & 0o7777,
        uid=info.uid,
        gid=info.gid,
        mtime_nsec=nanoseconds(info.pax_headers.get("mtime", ""), info.mtime),
        xattrs=_xattrs(info),
    )
    if info.isdir():
        return entry
    if not path:
        raise refuse(original, "the root must be a directory")
    if info.isreg():
        return entry.replace(kind=FILE, size=info.size, regions=_regions(info, original))
    if info.issym() or info.islnk():
        return _link(info, entry, original)
    return _node(info, entry, original)


def _link(info: TarInfo, entry: Entry, original: bytes) -> Entry:
    """A symbolic link's text may be anything, as only containers follow it; a hard link's is a path."""
    target = raw(info.linkname)
    if info.islnk():
        return entry.replace(kind=HARDLINK, target=clean(target, original))
    if not target or b"\0" in target or len(target) > MAX_PATH:
        raise refuse(original, "a symbolic link that leads nowhere")
    return entry.replace(kind=SYMLINK, target=target)


def _node(info: TarInfo, entry: Entry, original: bytes) -> Entry:
    """Devices are made, as Docker does: containers mount their root nodev, so that these mean nothing."""
    if info.type not in TYPES:
        raise refuse(original, f"of a type there is not ({info.type.decode('latin-1')!r})")
    device = (info.devmajor, info.devminor) if info.type != b"6" else (0, 0)
    if info.type == b"3" and device == (0, 0):
        raise refuse(original, "the device 0:0, by which overlayfs marks what is deleted")
    if not (0 <= device[0] < 1 << 12 and 0 <= device[1] < 1 << 20):
        raise refuse(original, f"the device {device[0]}:{device[1]}, which can't be")
    return entry.replace(kind=NODE, mode=entry.mode | TYPES[info.type], device=device)

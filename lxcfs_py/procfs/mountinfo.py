"""/proc/PID/mountinfo: the mounts of a mount namespace (proc_pid_mountinfo(5))."""

from __future__ import annotations

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NO_UPPER = ("overlay", "9p", "nfs", "nfs4", "fuse", "vfat", "exfat", "hostfs", "squashfs", "cifs", "ramfs")
"""File systems that can't carry an overlay's upper layer (overlayfs.rst, "Upper and lower")."""


class Mount(Record):
    """One mount, in the order of the text: a later one at the same place hides an earlier."""

    mount_id: int
    parent_id: int
    device: str
    """``MAJOR:MINOR``."""
    root: str
    mount_point: str
    options: str
    fstype: str
    source: str
    super_options: str


def parse(data: bytes) -> list[Mount]:
    """Return the mounts; lines that are cut or garbled are left out."""
    found = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        left, dash, right = line.partition(" - ")
        fields, last = left.split(" "), right.split(" ")
        if not dash or len(fields) < 6 or len(last) < 3 or not all(map(_is_id, fields[:2])):
            continue
        numbers = int(fields[0]), int(fields[1])
        places = unescape(fields[3]), unescape(fields[4])
        found.append(Mount(*numbers, fields[2], *places, fields[5], last[0], unescape(last[1]), last[2]))
    return found


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 20


def unescape(text: str) -> str:
    r"""Return a path with its octal escapes (``\040`` for a blank) resolved."""
    if "\\" not in text:
        return text
    head, *parts = text.split("\\")
    return head + "".join(
        chr(int(part[:3], 8)) + part[3:] if len(part) > 2 and set(part[:3]) <= set("01234567") else "\\" + part
        for part in parts
    )


def fstype_at(mounts: Iterable[Mount], path: str) -> str:
    """Return the type of the file system that a path is in, "" if none is mounted above it."""
    place, found = "", ""
    for mount in mounts:
        at = mount.mount_point.rstrip("/")
        if (path == at or path.startswith(at + "/")) and len(at) >= len(place):
            place, found = at, mount.fstype
    return found


def carries_upper(fstype: str) -> bool:
    """Say whether a file system can carry an overlay's upper layer."""
    return fstype.partition(".")[0] not in NO_UPPER

"""Who the command runs as: the container's own passwd(5) and group(5), read where the container sees them.

``complete`` is called inside the container's root, after pivot_root or setns, so that names, links and
volumes over these files mean what they mean there.
"""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime.errors import RunError
from runtime.kernel import mountapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

MAX_ID = 2**32 - 2
"""The last id: 2^32 - 1 is (uid_t) -1, "unchanged" to the kernel."""
MAX_FILE_BYTES = 16 << 20
"""Bytes read of a file the container may have written."""


class Identity(Record):
    """A process's credentials, and the home directory that goes with them."""

    uid: int
    gid: int
    gids: tuple[int, ...] = ()
    home: str = "/"


def number(text: str) -> int | None:
    """Return a user or group id, None if the text is a name; ids beyond the kernel's are no numbers."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    return int(text) if int(text) <= MAX_ID else None


def _rows(data: bytes, columns: int) -> Iterator[list[str]]:
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":")
        if len(fields) >= columns and not line.startswith("#") and "\0" not in line:  # (no variable can hold one)
            yield fields


def _user(name: str, passwd: bytes) -> tuple[str, Identity] | None:
    """Return the login name and identity of the first entry whose name or uid is ``name``."""
    wanted = number(name)
    for fields in _rows(passwd, 6):
        uid, gid = number(fields[2]), number(fields[3])
        if uid is not None and gid is not None and (fields[0] == name or uid == wanted):
            return fields[0], Identity(uid, gid, home=fields[5] or "/")
    return None


def _group(name: str, group: bytes) -> int | None:
    """Return the gid of a group by name; a number needs no entry."""
    for fields in _rows(group, 4):
        gid = number(fields[2])
        if fields[0] == name and gid is not None:
            return gid
    return number(name)


def _memberships(login: str, group: bytes) -> tuple[int, ...]:
    found = {number(f[2]) for f in _rows(group, 4) if login in f[3].split(",")}
    return tuple(sorted(gid for gid in found if gid is not None))


def resolve(user: str, passwd: bytes, group: bytes) -> Identity:
    """Return who ``USER[:GROUP]`` is by Docker's rules.

    A number without an entry is that uid with gid 0 and home ``/``; a name without one is an Error. A group
    that is named replaces the entry's group and the supplementary ones. The group itself is one of these, too: else a
    setgid program would rid the user of it, and so of what it is denied by that group's permissions.
    """
    name, colon, group_name = user.partition(":")
    entry = _user(name or "0", passwd)
    uid = number(name or "0")
    if entry is None and uid is None:
        raise RunError(f"user {name!r}: not in the container's /etc/passwd", "name one that is, or a number")
    login, identity = entry or ("", Identity(uid or 0, 0))
    if not colon:
        others = _memberships(login, group) if login else ()
        return identity.replace(gids=tuple(dict.fromkeys((identity.gid, *others))))
    gid = _group(group_name, group)
    if gid is None:
        raise RunError(f"group {group_name!r}: not in the container's /etc/group", "name one that is, or a number")
    return identity.replace(gid=gid, gids=(gid,))


def _added(names: Iterable[str], group: bytes) -> Iterator[int]:
    """Yield the ids of groups; raises an Error for a name that the container does not know."""
    for name in names:
        gid = _group(name, group)
        if gid is None:
            raise RunError(
                f"--group-add {name!r}: not in the container's /etc/group", "name one that is, or a number"
            )
        yield gid


def read(path: str) -> bytes:
    """Return the regular file's content, b"" where there is none: not every root has these files.

    The container may have put a fifo there, or a link to what we have open (CVE-2024-21626).
    """
    try:
        descriptor = mountapi.open_here(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        about = os.fstat(descriptor)
        regular = about.st_mode & 0o170000 == 0o100000  # S_IFMT, S_IFREG
        return os.read(descriptor, min(about.st_size, MAX_FILE_BYTES)) if regular else b""
    finally:
        os.close(descriptor)


def complete(process: dict[str, Any], etc: str = "/etc") -> dict[str, Any]:
    """Return the OCI process with its user as numbers and HOME in its environment.

    ``process.user.username`` holds ``USER[:GROUP]`` as asked for; without it the numbers stand as they are.
    Raises an Error for a name the container does not know.
    """
    asked = process["user"]
    passwd = read(f"{etc}/passwd")
    if "username" in asked:
        groups = read(f"{etc}/group")
        who = resolve(asked["username"], passwd, groups)
        who = who.replace(gids=tuple(dict.fromkeys((*who.gids, *_added(asked.get("groups", ()), groups)))))
    else:
        entry = _user(str(asked["uid"]), passwd)
        gids = tuple(asked.get("additionalGids", ()))
        who = Identity(asked["uid"], asked["gid"], gids, entry[1].home if entry else "/")
    env = list(process.get("env", ()))
    if not any(item.startswith("HOME=") for item in env):
        env.append(f"HOME={who.home}")
    user = {**asked, "uid": who.uid, "gid": who.gid, "additionalGids": list(who.gids)}
    return {**process, "user": user, "env": env}

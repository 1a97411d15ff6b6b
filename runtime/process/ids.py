"""The ids of a user namespace: which an ordinary user has to give, and how they are given (user_namespaces(7)).

Its own id becomes root inside. Others are those that /etc/subuid and /etc/subgid leave to it, and newuidmap(1) and
newgidmap(1), which are setuid root, are asked to map them. Without either its own id is all there is.
"""

from __future__ import annotations

import os

from lxcfs_py.cgroup.setting import write
from lxcfs_py.record import Record
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Rows = list[dict[str, int]]

HELPERS = {"uid_map": "newuidmap", "gid_map": "newgidmap"}
FIELDS = {"uid_map": "uidMappings", "gid_map": "gidMappings"}
"""OCI's name of each of the kernel's files."""
ETC = "/etc"
SAME: Rows = [{"containerID": 0, "hostID": 0, "size": 2**32 - 1}]
"""Where there is no user namespace of its own."""
OVERFLOW = 65534
"""What the kernel shows for an id that is not mapped."""


class Own(Record):
    """What a user can give."""

    uids: Rows
    gids: Rows
    missing: str = ""
    """Why there are no others than its own, "" if there are."""

    @property
    def oci(self) -> dict[str, Rows]:
        """The two fields of ``linux``."""
        return {"uidMappings": self.uids, "gidMappings": self.gids}


def ranges(text: str, owners: Sequence[str]) -> list[tuple[int, int]]:
    """Return first id and count of each line of subuid(5) that is for one of the ``owners``, a name and a number."""
    found = []
    for line in text.splitlines():
        owner, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if owner in owners and first.isdigit() and count.strip().isdigit() and int(count):
            found.append((int(first), int(count)))
    return found


def rows(own: int, others: Sequence[tuple[int, int]]) -> Rows:
    """Return the map: the user's own id is root's inside, the others follow, each once."""
    found, at = [{"containerID": 0, "hostID": own, "size": 1}], 1
    taken = [(own, 1)]
    for given in others:
        for first, count in _without(given, taken):
            found.append({"containerID": at, "hostID": first, "size": count})
            at += count
        taken.append(given)
    return found


def _without(given: tuple[int, int], taken: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what is left of a range, as first ids and counts; the kernel takes no id twice."""
    left = [given]
    for first, count in taken:
        end = first + count
        pieces = [
            piece
            for at, size in left
            for piece in ((at, min(at + size, first) - at), (max(at, end), at + size - max(at, end)))
        ]
        left = [(at, size) for at, size in pieces if size > 0]
    return left


def _through(map_: Rows, id_: int, here: str, there: str) -> int | None:
    found = (row[there] + id_ - row[here] for row in map_ if row[here] <= id_ < row[here] + row["size"])
    return next(found, None)


def outer(map_: Rows, id_: int) -> int | None:
    """Return the host's id of one of the container's; None if it is not mapped."""
    return _through(map_, id_, "containerID", "hostID")


def inner(map_: Rows, id_: int) -> int | None:
    """Return the container's id of one of the host's; None if it has none for it."""
    return _through(map_, id_, "hostID", "containerID")


def has(map_: Rows, id_: int) -> bool:
    """Say whether an id of the container's is mapped."""
    return outer(map_, id_) is not None


def of(pid: int) -> tuple[Rows, Rows]:
    """Return the maps of users and groups of a process's user namespace, as seen from here."""
    if os.stat(f"/proc/{pid}/ns/user").st_ino == os.stat("/proc/self/ns/user").st_ino:
        return SAME, SAME  # of its own namespace a process is told what the one above calls its ids
    return _kept(f"/proc/{pid}/uid_map"), _kept(f"/proc/{pid}/gid_map")


def _kept(path: str) -> Rows:
    with open(path, encoding="utf-8") as file:
        lines = [tuple(map(int, line.split())) for line in file]
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in lines]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def name(uid: int) -> str:
    """Return the user's login name, as newuidmap(1) looks for it; its number where it has none."""
    from pwd import getpwuid  # what a name service knows too

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def helper(name: str) -> str:
    """Return the path of a helper, "" if it is not there."""
    places = (*os.environ.get("PATH", "").split(":"), "/usr/bin", "/bin", "/usr/local/bin")
    return next((path for at in places if at and os.access(path := f"{at}/{name}", os.X_OK)), "")


def own() -> Own:
    """Return what we, an ordinary user, can give."""
    uid, gid = os.geteuid(), os.getegid()
    owners = (name(uid), str(uid))
    uids, gids = (ranges(_text(f"{ETC}/{file}"), owners) for file in ("subuid", "subgid"))
    lacking = [file for file, found in (("/etc/subuid", uids), ("/etc/subgid", gids)) if not found]
    lacking = [f"{' and '.join(lacking)} leave {owners[0]} none"] if lacking else []
    lacking += [f"{name}(1) is not installed" for name in HELPERS.values() if not helper(name)]
    if lacking:
        return Own(rows(uid, ()), rows(gid, ()), ", ".join(lacking))
    return Own(rows(uid, uids), rows(gid, gids))


def give(proc: str, pid: int, linux: Mapping[str, Any]) -> None:
    """Give a new user namespace its ids; raises an Error naming the map."""
    user = os.geteuid()
    alone = user != 0 and all(
        [row["hostID"] for row in linux[field]] == [mine] and linux[field][0]["size"] == 1
        for field, mine in (("uidMappings", user), ("gidMappings", os.getegid()))
    )
    if alone:  # who has no right to set groups could leave one that denies something (user_namespaces(7))
        _write(f"{proc}/{pid}/setgroups", "deny", "setgroups deny")
    for file, field in FIELDS.items():
        texts = [f"{row['containerID']} {row['hostID']} {row['size']}" for row in linux[field]]
        if user == 0 or alone:
            _write(
                f"{proc}/{pid}/{file}", "".join(f"{text}\n" for text in texts), f"linux.{field} {', '.join(texts)}"
            )
        else:
            _ask(HELPERS[file], [str(pid), *(word for text in texts for word in text.split())], field)


def _write(path: str, text: str, what: str) -> None:
    try:
        write(path, text)
    except OSError as error:
        raise RunError(f"{what}: {error.strerror}", "ranges may not overlap") from error


def _ask(name: str, arguments: Sequence[str], field: str) -> None:
    """Run a helper; what it says against it is the Error's."""
    hint = "have root give you ranges in /etc/subuid and /etc/subgid, and install uidmap"
    program = helper(name)
    if not program:
        raise RunError(f"linux.{field}: {name}(1) is not installed", hint)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.posix_spawn(
            program, [name, *arguments], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)]
        )
    finally:
        os.close(writer)
    with open(reader, "rb") as file:
        said = file.read().decode("utf-8", "replace").strip().partition("\n")[0]
    if os.waitpid(child, 0)[1]:
        raise RunError(f"linux.{field}: {said or f'{name} failed'}", hint)

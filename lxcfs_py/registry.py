"""Containers that have been registered: ``RUN/lxcfs-py/containers/ID.json``, written by whoever starts them."""

from __future__ import annotations

import os

from lxcfs_py import json_text, process
from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.host import Host

MAX_BYTES = 1 << 16
MAX_ID = 128
SWEPT = 8
"""How many registrations are looked at for each that goes, so that the dead do not gather."""
_ID_EXTRA = "_.-"


class RefusedError(Error):
    """A registration is there, but can't be trusted or read."""


class Registration(Record):
    """One container."""

    id: str
    init_pid: int
    init_start_ticks: int
    """Field 22 of /proc/PID/stat: with the pid it names one process for ever."""
    cgroups: Mapping[str, str]
    """Its path by v1 controller, and by "" for cgroup2."""
    boottime_offset_nsec: int = 0
    """Its time namespace's offset of CLOCK_BOOTTIME, 0 without one."""


def directory(host: Host) -> str:
    """Return where registrations are."""
    return f"{host.run}/lxcfs-py/containers"


def is_id(text: str) -> bool:
    """Say whether this can be a container's id: a plain file name."""
    plain = text.replace("_", "").replace(".", "").replace("-", "")
    return plain.isascii() and plain.isalnum() and text[0] not in _ID_EXTRA and len(text) <= MAX_ID


def register(host: Host, registration: Registration) -> bool:
    """Write a registration, whole or not at all; return False if its id is that of another one that lives.

    Raises OSError.
    """
    at, own = directory(host), (registration.init_pid, registration.init_start_ticks)
    os.makedirs(at, mode=0o755, exist_ok=True)
    path, temporary = f"{at}/{registration.id}.json", f"{at}/{_unwritten(registration.id, *own)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(descriptor, 0o644)  # whatever the umask is
        os.write(descriptor, json_text.dumps(registration.as_dict()))
        while True:
            try:
                os.link(temporary, path)  # unlike rename(2) it never replaces one that was quicker
            except FileExistsError:
                if not _remove(host, registration.id, own):
                    return False
            else:
                return True
    finally:
        os.unlink(temporary)
        os.close(descriptor)


def _unwritten(id_: str, pid: int, start_ticks: int) -> str:
    """Return what a registration is called until it is whole: found again if its writer is killed before."""
    return f".{id_}@{pid}.{start_ticks}"


def unregister(host: Host, id_: str, pid: int, start_ticks: int) -> None:
    """Remove the registration of a container; none is fine, and that of another one that lives stays."""
    _remove(host, id_, (pid, start_ticks))
    try:
        os.unlink(f"{directory(host)}/{_unwritten(id_, pid, start_ticks)}")
    except FileNotFoundError:
        return


def _remove(host: Host, id_: str, own: tuple[int, int] = (0, 0)) -> bool:
    """Remove a registration; return False for that of a living container other than our ``own``, which stays."""
    path, aside = f"{directory(host)}/{id_}.json", f"{directory(host)}/.{id_}.{os.getpid()}"
    try:
        judged = os.lstat(path)
        if lives(host, id_, but=own):
            return False
        os.rename(path, aside)  # no lock, which whoever can read the directory could hold for ever
        if not os.path.samestat(judged, os.lstat(aside)):  # a new one's by now
            _back(aside, path)
        os.unlink(aside)
    except FileNotFoundError:  # there is none, or somebody else was quicker
        return True
    return True


def _back(aside: str, path: str) -> None:
    """Put a registration back, unless there is a newer one yet."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return


def lives(host: Host, id_: str, pid: int = 0, but: tuple[int, int] = (0, 0)) -> bool:
    """Say whether the first process of a registered container lives, and is that one unless 0.

    That of pid and start time ``but`` does not count.
    """
    try:
        found = load(host, id_)
    except Error:
        return False
    if pid not in (0, found.init_pid) or but == (found.init_pid, found.init_start_ticks):
        return False
    return process.alive(host, found.init_pid, found.init_start_ticks)


def forget_ended(host: Host, id_: str) -> None:
    """Remove the registration of a container that has ended, and a few others' whose runtime never said so."""
    names = ids(host)
    first = hash(id_) % (len(names) or 1)  # another one each time: Python salts it
    for name in {id_, *(names * 2)[first : first + SWEPT]} & set(names):
        _remove(host, name)


def ids(host: Host) -> tuple[str, ...]:
    """Return the ids that are registered, in order; what has no id's name is left out."""
    try:
        names = os.listdir(directory(host))
    except OSError:
        return ()
    found = (name[:-5] for name in names if name.endswith(".json"))
    return tuple(sorted(name for name in found if name and is_id(name)))


def load(host: Host, id_: str) -> Registration:
    """Return a registration; raises an Error if there is none, a RefusedError if it can't be trusted or read."""
    path = f"{directory(host)}/{id_}.json"
    if not id_ or not is_id(id_):
        raise RefusedError(f"{id_!r}: not a container's id", "ids are letters, digits, _, . and -")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            about = os.fstat(descriptor)
            data = os.read(descriptor, MAX_BYTES)
        finally:
            os.close(descriptor)
        found = json_text.loads(data)
    except FileNotFoundError:
        raise Error(f"container {id_!r} is not registered", f"{directory(host)} holds those that are") from None
    except OSError as error:
        raise RefusedError(reason(error), "registrations are plain files") from error
    except ValueError:
        raise RefusedError(f"{path}: not a registration", "write it anew") from None
    if about.st_uid not in (0, os.geteuid()):
        raise RefusedError(f"{path}: owned by user {about.st_uid}", "registrations are root's")
    if about.st_mode & 0o022:
        raise RefusedError(f"{path}: others may write it", "registrations are root's: chmod 0644")
    told = _registration(found)
    if told is None or told.id != id_:
        raise RefusedError(f"{path}: not a registration", "write it anew")
    return told


def _registration(found: object) -> Registration | None:
    """Return what this JSON registers, which another version may have written; None if it can't be right."""
    if not isinstance(found, dict):
        return None
    try:
        told = Registration.known(found)
    except TypeError:  # a field is missing that has no default
        return None
    whole = all(
        isinstance(number, int) and not isinstance(number, bool) and abs(number) < 1 << 63
        for number in (told.init_pid, told.init_start_ticks, told.boottime_offset_nsec)
    )
    right = (
        whole
        and 0 < told.init_pid < 1 << 31
        and isinstance(told.id, str)
        and isinstance(told.cgroups, dict)
        and all(map(_is_path, told.cgroups.values()))
    )
    return told if right else None


def _is_path(path: object) -> bool:
    """Say whether this is a cgroup's path that system calls take."""
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        return False
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return ".." not in path.split("/")

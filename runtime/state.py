"""What is known of each container: ``ROOT/ID/state.json``, written whole or not at all.

One that another version wrote is read as well: a new field has to have a default, and an old one keeps its type.

The status is never stored: it is computed at each reading from the process itself, known by its pid and
start time together, so that a pid used again is never taken for the container's.
"""

from __future__ import annotations

import fcntl
import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from lxcfs_py.host import Host
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

OCI_VERSION = "1.3.0"
"""The runtime specification spoken; any 1.x is understood."""
CREATING, CREATED, RUNNING, STOPPED = "creating", "created", "running", "stopped"
HOST = Host()
RESTART = "io.lxcfs-py.restart"
"""The annotation that --restart becomes."""
SOCKET, HOLDER, EXIT = "start", "holder.pid", "exit"
"""In its directory: what a created one listens on; who holds a detached one, and what that writes of its end."""
CLAIMED = "claimed"
"""What is in the directory of one that is being made, or is to be removed at its end: its maker may be killed."""
REQUEST = "request.json"
"""In a container's storage: what it was asked to be (``lifecycle.again``)."""


class MissingError(Error):
    """There is no such container (any more)."""


class State(Record):
    """One container. A pid of 0: its first process does not exist yet."""

    id: str
    directory: str
    """The directory of this file, and of a copy of config.json: ``ROOT/ID``."""
    bundle: str
    """The directory of config.json: the one it was made from, or ``directory``."""
    storage: str
    """The directory of its upper layer and log: ``STORAGE/containers/ID``; "" if its root is not of our making."""
    cgroup: str
    """Its cgroup's path in every hierarchy; "" if it has none of its own."""
    created_nsec: int
    """When it was made, in nanoseconds since 1970."""
    command: tuple[str, ...] = ()
    pid: int = 0
    start_ticks: int = 0
    """Field 22 of /proc/PID/stat."""
    boottime_offset_nsec: int = 0
    """Its time namespace's offset of CLOCK_BOOTTIME, 0 without one."""
    phase: str = RUNNING
    """What it is while its first process lives: creating, created (before execve) or running."""
    started_nsec: int = 0
    """When its command last began, 0 if it never has."""
    detached: bool = False
    remove: bool = False
    exit_code: int | None = None
    """What its command ended with, None while unknown."""
    annotations: Mapping[str, str] = {}
    unit: str = ""
    """The systemd unit its cgroup is of, "" if we made it."""
    began_as: str = ""
    """The id it was started by, if it was renamed since: until it ends others know it by that (``claims.rename``)."""

    @property
    def key(self) -> str:
        """What its cgroup, its registration and its addresses are called by."""
        return self.began_as or self.id

    def renamed(self, id_: str) -> State:
        """Return it under another name, for as long as it runs."""
        directory = f"{os.path.dirname(self.directory)}/{id_}"
        return self.replace(
            id=id_,
            directory=directory,
            bundle=directory if self.bundle == self.directory else self.bundle,
            began_as=self.began_as or self.id,
        )


TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "directory", "bundle", "storage", "cgroup", "phase", "unit", "began_as"), (str,)),
    **dict.fromkeys(("created_nsec", "started_nsec", "pid", "start_ticks", "boottime_offset_nsec"), (int,)),
    **dict.fromkeys(("detached", "remove"), (bool,)),
    "command": (list,),
    "annotations": (dict,),
    "exit_code": (int, type(None)),
}


def exists(root: str, id_: str) -> bool:
    """Say whether there is a container of that id, in whatever condition."""
    return os.path.isdir(f"{root}/{id_}")


def lock(root: str, id_: str, *, wait: bool = True) -> int:
    """Return a descriptor that holds the container's lock until it is closed.

    Raises BlockingIOError if it is held and we do not ``wait``, an Error if there is no such container
    (any more: it may have gone while we waited).
    """
    path = f"{root}/{id_}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise missing(id_) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):
            raise missing(id_)
    except FileNotFoundError:
        os.close(descriptor)
        raise missing(id_) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def missing(id_: str) -> Error:
    """Return the Error for a container that is not there."""
    return MissingError(f"container {id_!r} does not exist", "pyproc list shows those that do")


def write(path: str, value: dict[str, Any]) -> None:
    """Write JSON under a name that only ever holds a whole text."""
    write_text(path, json_text.dumps(value), 0o600)


def write_text(path: str, data: bytes, mode: int) -> None:
    """Write a text under a name that only ever holds a whole one; raises OSError naming it."""
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.rename(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):  # of a full disk write(2) does not say where
            error.filename = path
        raise
    finally:
        os.close(descriptor)


def save(state: State) -> None:
    """Write the container's state in place of the one before."""
    write(f"{state.directory}/state.json", state.as_dict())


def _read(path: str) -> Any:
    with open(path, "rb") as file:
        return json_text.loads(file.read())


def _unreadable(path: str, why: str, id_: str) -> Error:
    return Error(f"{path}: {why}", f"pyproc delete --force {id_} removes what is left of it")


def load(root: str, id_: str) -> State:
    """Return a container's state; raises an Error for none, a cut or a garbled one."""
    path = f"{root}/{id_}/state.json"
    try:
        found = _read(path)
    except FileNotFoundError:
        if exists(root, id_):
            raise _unreadable(path, "never written, its start was interrupted", id_) from None
        raise missing(id_) from None
    except OSError as error:
        raise _unreadable(path, reason(error).removeprefix(f"{path}: "), id_) from error
    except ValueError:  # cut, not JSON, or not UTF-8
        raise _unreadable(path, "not a container's state", id_) from None
    whole = _state(found)
    whole = _called(root, whole, id_) if whole is not None else None
    if whole is None:
        raise _unreadable(path, "not a container's state", id_)
    return whole


def leads(root: str, id_: str) -> str:
    """Return the name that a former name leads to, "" for any other."""
    path = f"{root}/{id_}"
    return os.path.basename(os.path.realpath(path)) if os.path.islink(path) else ""


def _called(root: str, found: State, id_: str) -> State | None:
    """Return a state under the name it has, which a former one leads to; its renaming may have been cut off."""
    real = leads(root, id_) or id_
    if found.id == real:
        return found
    return found.renamed(real) if leads(root, found.id) == real else None


def _state(found: object) -> State | None:
    """Return the state that this JSON is, perhaps of a version with other fields; None if a type is wrong."""
    if not isinstance(found, dict):
        return None
    for name, types in TYPES.items():
        value = found.get(name, types)
        if value is not types and (not isinstance(value, types) or isinstance(value, bool) != (types == (bool,))):
            return None
    try:
        whole = State.known({**found, "command": tuple(found.get("command", ()))})
    except TypeError:  # a field is missing that has no default
        return None
    return whole if all(isinstance(word, str) for word in (*whole.command, *whole.annotations.values())) else None


def remains(root: str, storage: str, id_: str) -> State:
    """Return what can be said of a container whose state can't be read: where its remains are."""
    directory = f"{root}/{id_}"
    return State(id_, directory, directory, f"{storage}/containers/{id_}", f"/pyproc/{id_}", 0)


def config(state: State) -> dict[str, Any]:
    """Return the container's OCI configuration; raises an Error if it can't be read."""
    path = f"{state.directory}/config.json"
    try:
        found = _read(path)
    except OSError as error:
        raise Error(reason(error), f"pyproc delete --force {state.id} removes the container") from error
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("process"), dict):
        raise _unreadable(path, "not an OCI configuration", state.id)
    return found


def ids(root: str) -> tuple[str, ...]:
    """Return the ids of all containers, in order."""
    try:
        entries = list(os.scandir(root))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Error(reason(error), "use the --root the containers were started with, as root") from error
    return tuple(sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)))


def made_up(id_: str) -> bool:
    """Say whether an id is one of ours, twelve random hex digits: only of these a beginning will do.

    An engine means the very id it names, and another's that begins alike is none of its business.
    """
    return len(id_) == 12 and set(id_) <= set("0123456789abcdef")


def find(root: str, text: str) -> str:
    """Return the id that is the text, or alone of those we made up begins with it; raises an Error otherwise."""
    path = f"{root}/{text}"
    if text and text[0] != "." and "/" not in text and os.path.isdir(path) and not os.path.islink(path):
        return text  # not looking at thousands
    matches = [id_ for id_ in ids(root) if text and id_.startswith(text) and made_up(id_)]
    if len(matches) > 1:
        raise Error(f"{text!r} is the beginning of {', '.join(matches)}", "write more of it")
    if not matches:
        raise missing(text)
    return matches[0]


def get(root: str, text: str) -> State:
    """Return the state of the container that is called so (``find``)."""
    return load(root, find(root, text))


def alive(pid: int, start_ticks: int, host: Host = HOST) -> bool:
    """Say whether that very process runs; a zombie has ended."""
    from lxcfs_py import process

    return process.alive(host, pid, start_ticks)


def status(root: str, state: State, host: Host = HOST, *, locked: bool = False) -> str:
    """Return OCI's word for what the container is now (runtime.md, "State").

    ``locked``: the caller holds the container's lock, so nobody else is making it.
    """
    if state.pid:
        return state.phase if alive(state.pid, state.start_ticks, host) else STOPPED
    if locked or state.exit_code is not None or not os.path.exists(f"{state.directory}/{CLAIMED}"):
        return STOPPED  # whoever has its lock changes or reads what is there
    try:
        os.close(lock(root, state.id, wait=False))
    except BlockingIOError:  # its maker is at work
        return CREATING
    except Error:
        return STOPPED
    return STOPPED

"""Volumes: directories that outlive containers, ``STORAGE/volumes/NAME/_data``, and who uses them.

Whoever is about to use volumes writes that down in the container's storage, and then takes the lock shared to make
those that are missing; who removes takes it alone from looking at the uses to the end. So either the remover has seen
the use, or the user finds the volume gone and makes it anew. A volume has its name when it is complete.
"""

from __future__ import annotations

import fcntl
import os
import time

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from runtime import state, units
from runtime.kernel.removal import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

USES = "volumes.json"
"""In a container's storage: the volumes it has, as a list of ``name`` and ``anonymous``."""
DATA, ABOUT = "_data", "volume.json"
MODE = 0o755
"""Of a new volume, whatever the umask is."""
NEW, DEAD = ".new.", ".dead."
"""What the names of volumes in the making, and of those that are being removed, begin with."""


class Volume(Record):
    """A volume as a container asks for it."""

    name: str
    data: str = ""
    """The directory of the host that is shown."""
    target: str = ""
    """Where it is inside."""
    anonymous: bool = False
    """Its name was made up: it goes with the container that made it if that is asked for."""
    copy: bool = True
    """Whether what the image holds at that place is copied into it while it is empty."""
    labels: Mapping[str, str] = {}
    """Of a volume that is made."""


def directory(storage: str) -> str:
    """Return the directory of all volumes."""
    return f"{storage}/volumes"


def place(storage: str, name: str) -> str:
    """Return a volume's own directory."""
    return f"{directory(storage)}/{name}"


def data(storage: str, name: str) -> str:
    """Return the directory that is shown inside."""
    return f"{place(storage, name)}/{DATA}"


def name_of(storage: str, path: str) -> str:
    """Return the name of the volume that a directory is, or is in; "" for any other."""
    name, _, inner = path.removeprefix(f"{directory(storage)}/").partition("/")
    inside = inner == DATA or inner.startswith(f"{DATA}/")
    return name if inside and path.startswith(directory(storage)) else ""


def new_name() -> str:
    """Return an anonymous volume's name: 64 hex digits, as Docker's."""
    return os.urandom(32).hex()


class _Lock:
    """The lock on all volumes, as long as ``with`` lasts."""

    def __init__(self, storage: str, how: int) -> None:
        try:
            os.makedirs(directory(storage), mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(f"{directory(storage)}/.lock", flags, 0o600)
        except OSError as error:
            raise Error(reason(error), "run it as root, or give a --storage that can be written") from error
        fcntl.flock(self._descriptor, how)

    def __enter__(self) -> None:
        """It is taken."""

    def __exit__(self, *_error: object) -> None:
        os.close(self._descriptor)


def _make(storage: str, volume: Volume) -> bool:
    """Make a volume unless it is there; the lock is held. Say whether it was made."""
    if os.path.isdir(place(storage, volume.name)):
        return False
    new = f"{directory(storage)}/{NEW}{os.getpid()}.{os.urandom(8).hex()}"
    os.mkdir(new, 0o700)
    os.mkdir(f"{new}/{DATA}")
    os.chmod(f"{new}/{DATA}", MODE)
    about = {"anonymous": volume.anonymous, "created_nsec": time.time_ns(), "labels": dict(volume.labels)}
    state.write(f"{new}/{ABOUT}", about)
    try:
        os.rename(new, place(storage, volume.name))
    except OSError:  # somebody else was quicker
        remove_tree(new)
        if not os.path.isdir(place(storage, volume.name)):
            raise
        return False
    return True


def create(storage: str, volume: Volume) -> bool:
    """Make a volume unless it is there; say whether it was made."""
    with _Lock(storage, fcntl.LOCK_SH):
        return _make(storage, volume)


def claim(volumes: Iterable[Volume], storage: str, container: str) -> None:
    """Write down in a container's storage what it uses, and make what is missing."""
    wanted = list(volumes)
    used = [{"name": volume.name, "anonymous": volume.anonymous} for volume in wanted]
    state.write(f"{container}/{USES}", {"volumes": used})
    with _Lock(storage, fcntl.LOCK_SH):
        for volume in wanted:
            _make(storage, volume)


def _used(container: str) -> list[dict[str, Any]]:
    """Return what a container's storage says it uses; raises an Error for what can't be read: it may use any."""
    path = f"{container}/{USES}"
    try:
        with open(path, "rb") as file:
            found = json_text.loads(file.read())["volumes"]
        return [{"name": _text(use["name"]), "anonymous": bool(use.get("anonymous"))} for use in found]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Error(reason(error), "run it as root, or as the container's user") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        hint = f"remove the container: pyproc rm {os.path.basename(container)}"
        raise Error(f"{path}: not a list of volumes", hint) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def anonymous(container: str) -> list[str]:
    """Return the names of the volumes that were made up for a container; its storage is given."""
    return [use["name"] for use in _used(container) if use["anonymous"]]


def uses(storage: str) -> dict[str, list[str]]:
    """Return the containers that have each volume, running or not; raises an Error if one's can't be known."""
    found: dict[str, list[str]] = {}
    try:
        containers = sorted(each.name for each in os.scandir(f"{storage}/containers") if not each.is_symlink())
    except FileNotFoundError:
        containers = []
    except OSError as error:
        raise Error(reason(error), "run it as root, or give the --storage the volumes are in") from error
    for container in containers:
        for use in _used(f"{storage}/containers/{container}"):
            found.setdefault(use["name"], []).append(container)
    return found


def names(storage: str) -> list[str]:
    """Return the names of all volumes, in order."""
    try:
        return sorted(name for name in os.listdir(directory(storage)) if not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Error(reason(error), "run it as root, or give the --storage the volumes are in") from error


def describe(storage: str, name: str, used: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return what is said of a volume; raises an Error if there is none of that name."""
    if not units.is_name(name):
        raise missing(name)
    try:
        with open(f"{place(storage, name)}/{ABOUT}", "rb") as file:
            about = json_text.loads(file.read())
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(about["created_nsec"] // 10**9))
        labels, made_up = dict(about["labels"]), bool(about["anonymous"])
    except (FileNotFoundError, NotADirectoryError):
        raise missing(name) from None
    except OSError as error:
        raise Error(reason(error), "run it as root") from error
    except (ValueError, KeyError, TypeError):
        created, labels, made_up = "", {}, False  # damaged: it can still be used, and removed
    return {
        "name": name,
        "mountpoint": data(storage, name),
        "created": created,
        "anonymous": made_up,
        "labels": labels,
        "used_by": list(used.get(name, ())),
    }


def missing(name: str) -> Error:
    """Return the Error for a volume that is not there."""
    return Error(f"volume {name!r} does not exist", "pyproc volume ls shows those that do")


def remove(storage: str, wanted: Iterable[str], *, but: str = "") -> None:
    """Remove volumes, all or none; raises an Error for one that is not there, or that another than ``but`` has."""
    gone = []
    asked = list(dict.fromkeys(wanted))
    with _Lock(storage, fcntl.LOCK_EX):
        used = uses(storage)
        for name in asked:
            if not units.is_name(name) or not os.path.isdir(place(storage, name)):
                raise missing(name)
            if users := [container for container in used.get(name, ()) if container != but]:
                raise Error(
                    f"volume {name!r} is in use by {', '.join(users)}",
                    f"remove the container first: pyproc rm {users[0]}",
                )
        for name in asked:
            gone.append(f"{directory(storage)}/{DEAD}{os.urandom(8).hex()}")
            os.rename(place(storage, name), gone[-1])
    for dead in gone:
        remove_tree(dead)


def forget(storage: str, container: str, name: str) -> None:
    """Remove the anonymous volumes of a container that is being removed, but for those others use."""
    try:
        wanted = anonymous(container)
    except Error:  # damaged: it goes all the same, and leaves them to ``volume prune``
        return
    for volume in wanted:
        try:
            remove(storage, [volume], but=name)
        except Error:  # another has it, or may have, or it has gone
            continue


def prune(storage: str, wanted: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """Remove the volumes that no container has and that are ``wanted``, and what was cut off; return their names."""
    found, dead = [], []
    with _Lock(storage, fcntl.LOCK_EX):
        used = uses(storage)
        for name in names(storage):
            if name not in used and wanted(describe(storage, name, used)):
                found.append(name)
                os.rename(place(storage, name), f"{directory(storage)}/{DEAD}{os.urandom(8).hex()}")
        dead = [name for name in os.listdir(directory(storage)) if name.startswith((NEW, DEAD))]
        for name in dead:
            remove_tree(f"{directory(storage)}/{name}")
    return found

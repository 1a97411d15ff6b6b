"""Keeps what a container was asked to be in its storage, so that it can be started again, after a reboot too."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime import claims, state
from runtime.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.state import State

CLASS, RANGE, MAPPING = "class", "range", "mapping"
"""The keys of a record's class among its fields, of a range's ends, and of a mapping: what that holds, an image's
labels among it, is somebody else's text, and is never looked into."""
KNOWN = {
    "Request": "runtime.request",
    "Names": "runtime.request",
    "Resolved": "runtime.images.resolve",
    "Config": "runtime.images.manifest",
    "Wish": "runtime.network.wish",
    "End": "runtime.network.wish",
    "Published": "runtime.network.ports",
    "Volume": "runtime.volumes",
}
"""The records there can be, and the modules they are from."""


class Before(Record):
    """A container that is started again: its lock, which is held, and its state."""

    lock: int
    state: State


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: tuples become lists, and everything else but plain values says what it is."""
    if isinstance(value, Record):
        name = type(value).__name__
        if KNOWN.get(name) != type(value).__module__:
            raise TypeError(f"{type(value)} is not in KNOWN")
        return {CLASS: name, **{field: _plain(each) for field, each in value.as_dict().items()}}
    if isinstance(value, range):
        return {RANGE: [value.start, value.stop]}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return {MAPPING: value} if isinstance(value, dict) else value


def _whole(value: Any) -> Any:
    """Return what ``_plain`` was made of, of this version or another that has other fields with defaults.

    Raises LookupError, TypeError or ValueError for anything else.
    """
    if isinstance(value, list):
        return tuple(map(_whole, value))
    if not isinstance(value, dict):
        return value
    if MAPPING in value:
        return value[MAPPING]
    if RANGE in value:
        return range(*value[RANGE])
    name = value[CLASS]
    if name == "Wish" and "ends" not in value:  # as long as there was only one network for a container
        value = {**value, "ends": [{**value, CLASS: "End"}]}
    kind = getattr(__import__(KNOWN[name], fromlist=(name,)), name)
    return kind(**{field: _whole(value[field]) for field in kind._fields if field in value})


def room(root: str, id_: str, base: str) -> int:
    """Claim a name and make its storage; return the lock. Raises an Error if either is another container's.

    That of one which is gone with the last boot, but for its files, has no name until somebody asks for it.
    """
    held = claims.claim(root, id_)
    try:
        if os.path.islink(base):  # a former name of one that was renamed while it ran, before the last boot
            os.unlink(base)
        os.makedirs(base, mode=0o700, exist_ok=True)
        if os.path.exists(f"{base}/{state.REQUEST}"):
            raise claims.taken(root, id_)
    except BaseException:
        claims.settle(f"{root}/{id_}")
        os.rmdir(f"{root}/{id_}")
        os.close(held)
        raise
    return held


def keep(request: Request, base: str) -> None:
    """Write a request down."""
    state.write(f"{base}/{state.REQUEST}", _plain(request))


def begin(request: Request, base: str) -> None:
    """Write a request down, and that it uses its image and volumes."""
    keep(request, base)
    if request.image is not None:
        from runtime.images import resolve

        resolve.claim(request.image, request.storage, base)
    if request.volumes:
        from runtime import volumes

        volumes.claim(request.volumes, request.storage, base)


def read(base: str) -> Request | None:
    """Return what a container with this storage was asked to be; None where that can't be read."""
    try:
        with open(f"{base}/{state.REQUEST}", "rb") as file:
            found = _whole(json_text.loads(file.read()))
    except (OSError, ValueError, TypeError, LookupError):  # or written by another version
        return None
    return found if isinstance(found, Request) else None


def renew(found: State) -> None:
    """Write a container's request down as it is now: its name, its limits."""
    asked = read(found.storage) if found.storage else None
    if asked is not None:
        keep(asked.replace(id=found.id, spec=state.config(found)), found.storage)


def renamed(found: State) -> State:
    """Let all of a container have the name it has, which its storage has not yet; return its state."""
    at, old = os.path.split(found.storage)
    if state.leads(at, old) != found.id:
        if os.path.islink(f"{at}/{found.id}"):  # a former name of one that was renamed, whose end was cut off
            os.unlink(f"{at}/{found.id}")
        claims.rename(at, old, found.id)
    changed = found.replace(storage=f"{at}/{found.id}")
    config = state.config(changed)
    if config["linux"].get("cgroupsPath"):  # of its next start
        config = {**config, "linux": {**config["linux"], "cgroupsPath": f"/pyproc/{found.id}"}}
        state.write(f"{changed.directory}/config.json", config)
    renew(changed)
    state.save(changed)
    return changed


def kept(found: State) -> Request:
    """Return the request of a container, with the limits it has now; raises an Error where there is none."""
    if found.remove:
        raise Error(f"container {found.id!r} can't be started again: it is removed when it ends", "leave out --rm")
    asked = read(found.storage) if found.storage else None
    if asked is None:
        why = (
            "delete it and create it anew" if not found.storage else f"{found.storage}/{state.REQUEST} can't be read"
        )
        raise Error(f"container {found.id!r} can't be started: it is stopped", why)
    root, storage = os.path.dirname(found.directory), os.path.dirname(os.path.dirname(found.storage))
    return asked.replace(id=found.id, spec=state.config(found), root=root, storage=storage)


def revive(root: str, storage: str) -> None:
    """Make the states anew of containers that have none any more, because the host was started again since."""
    try:
        names = sorted(set(os.listdir(f"{storage}/containers")) - set(state.ids(root)))
    except OSError:
        return
    for name in names:
        base = f"{storage}/containers/{name}"
        asked = None if os.path.islink(base) else read(base)
        if asked is None or asked.root != root or asked.remove:
            continue
        try:
            held = claims.claim(root, name)
        except Error:  # somebody else was faster
            continue
        _stand(f"{root}/{name}", base, asked)
        os.close(held)


def _stand(directory: str, base: str, asked: Request) -> State:
    """Write down the state of a container that has ended, and return it."""
    since, spec = os.stat(f"{base}/{state.REQUEST}").st_mtime_ns, asked.spec
    found = state.State(
        os.path.basename(directory),
        directory,
        directory,
        base,
        "",
        since,
        tuple(spec["process"]["args"]),
        started_nsec=since,
        detached=asked.detach,
        annotations=spec["annotations"],
    )
    state.write(f"{directory}/config.json", spec)
    state.save(found)
    claims.settle(directory)
    return found


def put(request: Request) -> State:
    """Make a container that has never begun, to be started by somebody else; return its state."""
    from runtime.config import bundle

    request = request.replace(spec=bundle.complete(request.spec))
    base = f"{request.storage}/containers/{request.id}"
    held = room(request.root, request.id, base)
    try:
        begin(request, base)
        return _stand(f"{request.root}/{request.id}", base, request)
    except BaseException:
        from runtime.lifecycle import cleanup

        cleanup.cleanup(state.remains(request.root, request.storage, request.id), volumes=True)
        raise
    finally:
        os.close(held)

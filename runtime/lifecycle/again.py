"""Keeps what a container was asked to be in its storage, so that it can be started again, after a reboot too."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime import state
from runtime.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.state import State

REQUEST = "request.json"
"""In a container's storage: the request, as ``keep`` writes it."""
CLASS, RANGE = "//class", "//range"
"""The keys of a record's class among its fields, and of a range's ends."""


class Before(Record):
    """A container that is started again: its lock, which is held, and its state."""

    lock: int
    state: State


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: records become objects that name their class, tuples lists."""
    if isinstance(value, Record):
        about = type(value)
        fields = {name: _plain(field) for name, field in value.as_dict().items()}
        return {CLASS: f"{about.__module__}:{about.__name__}", **fields}
    if isinstance(value, range):
        return {RANGE: [value.start, value.stop]}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _whole(value: Any) -> Any:
    """Return what ``_plain`` was made of; records hold no lists."""
    if isinstance(value, list):
        return tuple(map(_whole, value))
    if isinstance(value, dict) and RANGE in value:
        return range(*value[RANGE])
    if not isinstance(value, dict) or CLASS not in value:
        return value
    module, _, name = value[CLASS].partition(":")
    fields = {key: _whole(field) for key, field in value.items() if key != CLASS}
    return getattr(__import__(module, fromlist=(name,)), name)(**fields)


def keep(request: Request, base: str) -> None:
    """Write a request down."""
    state.write(f"{base}/{REQUEST}", _plain(request))


def _read(base: str) -> Request | None:
    try:
        with open(f"{base}/{REQUEST}", "rb") as file:
            found = _whole(json_text.loads(file.read()))
    except (OSError, ValueError, TypeError, AttributeError, ImportError):  # or written by another version
        return None
    return found if isinstance(found, Request) else None


def kept(found: State) -> Request:
    """Return the request of a container, with the limits it has now; raises an Error where there is none."""
    if found.remove:
        raise Error(f"container {found.id!r} can't be started again: it is removed when it ends", "leave out --rm")
    asked = _read(found.storage) if found.storage else None
    if asked is None:
        why = "delete it and create it anew" if not found.storage else f"{found.storage}/{REQUEST} can't be read"
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
        asked = _read(base)
        if asked is None or asked.root != root or asked.remove:
            continue
        try:
            held = state.claim(root, name)
        except Error:  # somebody else was faster
            continue
        _stand(f"{root}/{name}", base, asked)
        os.close(held)


def _stand(directory: str, base: str, asked: Request) -> State:
    """Write down the state of a container that has ended, and return it."""
    since, spec = os.stat(f"{base}/{REQUEST}").st_mtime_ns, asked.spec
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
    state.settle(directory)
    return found


def put(request: Request) -> State:
    """Make a container that has never begun, to be started by somebody else; return its state."""
    from runtime.config import bundle

    request = request.replace(spec=bundle.complete(request.spec))
    held = state.claim(request.root, request.id)
    try:
        base = f"{request.storage}/containers/{request.id}"
        os.makedirs(base, mode=0o700, exist_ok=True)
        keep(request, base)
        if request.image is not None:
            from runtime.images import resolve

            resolve.claim(request.image, request.storage, base)
        if request.volumes:
            from runtime import volumes

            volumes.claim(request.volumes, request.storage, base)
        return _stand(f"{request.root}/{request.id}", base, request)
    finally:
        os.close(held)

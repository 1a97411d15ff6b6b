"""From an image's name to what a container is made of: what a start by ``--image`` needs, importing little."""

from __future__ import annotations

import fcntl
import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from runtime.errors import RunError
from runtime.images import catalog, manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.images.manifest import Config

USE = "image.json"
"""In a container's storage: the image it is made of (``use_text``)."""


class Resolved(Record):
    """An image that is here, ready to be started."""

    name: str
    id: str
    lowers: tuple[str, ...]
    """The directories of its layers, the topmost first, as overlayfs takes them."""
    chains: tuple[str, ...]
    """The ids of all its layers, the base first."""
    config: Config
    said: Mapping[str, Any] = {}
    """What an image made of the container will say (``merge.kept``)."""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Error(reason(error), "get the image again, or run it as root") from error


def _is_opaque(layer: str) -> bool:
    path = f"{layer}/layer.json"
    try:
        return bool(json_text.loads(_read(path))["opaque"])
    except (ValueError, KeyError, TypeError):
        raise Error(f"{path}: damaged", "pyproc rmi --force the image, and get it again") from None


def trees(layers: Sequence[str]) -> tuple[str, ...]:
    """Return the directories that make a root, the topmost first as overlayfs takes them, of layers, the base first.

    Nothing shows that lies below a layer which is opaque as a whole; overlayfs itself knows no such layer.
    """
    found: list[str] = []
    for layer in reversed(layers):
        found.append(f"{layer}/tree")
        if _is_opaque(layer):
            break
    return tuple(found)


def resolve(storage: str, text: str) -> Resolved:
    """Return the image of that name or id; raises an Error (exit code 125) for one that is not here.

    What is read was verified when it came in. Nobody removes the layers of a container that has its ``claim``.
    """
    try:
        data = _read(f"{storage}/images/index.json") if os.path.exists(f"{storage}/images/index.json") else b""
        entries = manifest.index(data, f"{storage}/images/index.json") if data else ()
        entry = catalog.find([entry for entry in entries if catalog.id_(entry)], text)[0]
        path = f"{storage}/images/blobs/sha256/{catalog.id_(entry)}"
        config = manifest.image(_read(path), path).config
        chains = catalog.chains(entry)
        if not chains:
            raise RunError(f"image {text!r} has no files", "choose another")
        lowers = trees([f"{storage}/layers/{chain}" for chain in chains])
        return Resolved(catalog.name(entry), catalog.id_(entry), lowers, chains, config)
    except RunError:
        raise
    except Error as error:
        raise RunError(error.message, error.hint) from error


def use_text(image: Resolved) -> bytes:
    """Return what a container's storage holds about its image, so that nobody removes the layers."""
    return json_text.dumps(
        {"id": image.id, "name": image.name, "layers": list(image.chains), "config": dict(image.said)}
    )


def claim(image: Resolved, storage: str, directory: str) -> None:
    """Write down in a container's storage what it is made of; raises an Error if that has just been removed.

    Who removes holds the lock (``store.alone``) from looking at these files to the end: either it has seen ours, or
    we see here what is gone.
    """
    with open(f"{directory}/{USE}", "wb") as file:
        file.write(use_text(image))
    lock = os.open(f"{storage}/images/lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        there = all(map(os.path.isdir, image.lowers))
    finally:
        os.close(lock)
    if not there:
        raise RunError(f"image {image.name or image.id[:12]}: it was removed just now", "get it again")

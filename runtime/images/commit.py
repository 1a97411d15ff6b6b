"""Makes an image of a container: its upper layer on top of its image's layers, which are shared."""

from __future__ import annotations

import errno
import os
import time

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime.images import add, catalog, change, manifest
from runtime.images.manifest import CONFIG, LAYER, MANIFEST, MAX_LAYERS, Descriptor, Manifest
from runtime.images.pack import Pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from runtime.images.progress import Progress
    from runtime.images.store import Blob, Store

CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""What finding something says that was there just now."""
KEPT = ("architecture", "os", "variant", "os.version", "os.features")
"""What of the image's configuration stays as it is; Docker's notes about how it was built do not."""


class Wish(Record):
    """What is asked for."""

    names: tuple[str, ...] = ()
    """Complete; () for a nameless image."""
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    created_by: str = ""
    """The container's command line."""


def configuration(
    base: Mapping[str, Any], said: Mapping[str, Any], wish: Wish, diff_id: str, now: str
) -> dict[str, Any]:
    """Return the new image's configuration: its image's, what the container was told, and the changes. Pure."""
    config = {
        key: value for key, value in {**(base.get("config") or {}), **said}.items() if value not in ([], {}, "")
    }
    diff_ids = list(base["rootfs"]["diff_ids"])
    history = [step for step in base.get("history") or () if isinstance(step, dict)]
    if sum(not step.get("empty_layer") for step in history) != len(diff_ids):  # readers count
        history = [{"created": base.get("created") or now} for _ in diff_ids]
    step = {"created": now, "created_by": wish.created_by, "author": wish.author, "comment": wish.message}
    return {
        **{key: base[key] for key in KEPT if key in base},
        "created": now,
        **({"author": wish.author} if wish.author else {}),
        "config": change.apply(config, wish.changes),
        "rootfs": {"type": "layers", "diff_ids": [*diff_ids, diff_id]},
        "history": [*history, {key: value for key, value in step.items() if value}],
    }


def commit(
    store: Store,
    use: Mapping[str, Any],
    upper: str,
    wish: Wish,
    still: AbstractContextManager[object],
    progress: Progress,
) -> str:
    """Make the image and return its id.

    ``use`` is what the container's storage holds of its image (``resolve.use_text``), ``still`` is entered as long as
    the upper layer must not change.
    """
    change.apply({}, wish.changes)  # refuse before anything is done
    with store.shared():
        base = next((entry for entry in store.entries() if catalog.id_(entry) == use["id"]), None)
        if base is None:
            raise Error(f"image {use['id'][:12]}: it was removed", f"get it again: {use['name'] or 'by its name'}")
        contents = manifest.manifest(store.read(base.digest), f"manifest {base.digest}")
        if len(contents.layers) >= MAX_LAYERS:
            raise Error(
                f"image {use['id'][:12]} has {MAX_LAYERS} layers, and can't have more",
                "pyproc export it, and import its root as one layer",
            )
        config = json_text.loads(store.read(contents.config.digest))
        root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            progress.begin("packing")
            with still:
                digest, size = store.written(lambda blob: _pack(root, blob))
        finally:
            os.close(root)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = json_text.dumps(configuration(config, use.get("config") or {}, wish, digest, now))
        described = Descriptor(CONFIG, *store.put_text(text, "configuration"))
        layers = (*contents.layers, Descriptor(LAYER, digest, size))
        found = Descriptor(MANIFEST, *store.put_text(manifest.manifest_text(Manifest(described, layers)), "manifest"))
        return add.add(store, found, wish.names, progress)


def _pack(root: int, blob: Blob) -> None:
    try:
        Pack(root).write(blob)
    except OSError as error:
        if error.errno not in CHANGED:
            raise
        what = os.fsdecode(error.filename or b"a file")
        raise Error(f"{what}: it has changed meanwhile", "try again, without --pause=false") from error


def names(texts: Sequence[str]) -> tuple[str, ...]:
    """Return complete names; raises an Error for what is none, or has a digest."""
    from runtime.errors import RunError
    from runtime.images import reference

    found = [reference.parse(text) for text in texts]
    for name in found:
        if name.digest:
            raise RunError(f"image {str(name)!r}: a digest can't be chosen", "leave it out, and give a tag")
    return tuple(map(str, found))

"""Makes an image of blobs that are all in the store: its layers unpacked, its names in the index."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error, reason
from runtime.images import catalog, manifest
from runtime.images.layers import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.images.manifest import Descriptor, Image, Manifest
    from runtime.images.progress import Progress
    from runtime.images.store import Store


def _checked(store: Store, found: Descriptor) -> tuple[Manifest, Image]:
    """Return manifest and configuration; raises an Error for an image that can't be run here or is incomplete."""
    contents = manifest.manifest(store.read(found.digest), f"manifest {found.digest}")
    what = f"image {contents.config.digest}"
    config = manifest.image(store.read(contents.config.digest), what)
    if len(config.diff_ids) != len(contents.layers):
        text = f"{len(contents.layers)} layers, and {len(config.diff_ids)} diff_ids"
        raise Error(f"{what}: {text}", "the image is damaged; get it again")
    if config.system not in ("linux", ""):
        raise Error(f"{what}: made for {config.system}", "choose one that is made for Linux")
    for layer in contents.layers:
        path = store.blob(layer.digest)
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise Error(reason(error), "pull or import the image again") from error
        if size != layer.size_bytes:
            os.unlink(path)  # so that the next attempt gets it anew
            raise Error(f"layer {layer.digest}: {size} bytes instead of {layer.size_bytes}", "get the image again")
    return contents, config


def add(store: Store, found: Descriptor, names: Sequence[str], progress: Progress) -> str:
    """Unpack the image, give it its names (or none) and return its id; the caller holds ``store.shared``."""
    contents, config = _checked(store, found)
    try:
        with Layers(store, progress) as layers:
            for number, (layer, diff_id) in enumerate(zip(contents.layers, config.diff_ids, strict=True), 1):
                progress.begin(f"unpacking layer {number} of {len(contents.layers)}")
                layers.add(store.blob(layer.digest), f"layer {layer.digest}", diff_id)
            layers.finish()
    except OSError as error:
        raise Error(reason(error), "make room: pyproc prune") from error
    finally:
        progress.end()
    new = [catalog.entry_of(found, contents.config.digest, layers.chains, name) for name in names or ("",)]
    store.change(lambda entries: catalog.with_all(entries, new))
    return catalog.id_(new[0])

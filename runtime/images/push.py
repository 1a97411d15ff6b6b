"""Puts images into registries; layers that one has already are not sent again."""

from __future__ import annotations

import os

from runtime.images import catalog, manifest, registry
from runtime.images.store import LAYOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.images.manifest import Descriptor
    from runtime.images.reference import Reference
    from runtime.images.registry import Options
    from runtime.images.store import Store


def command(name: Reference, layout: str, blobs: str, options: Options, digests: str, *, policy: bool) -> list[str]:
    """Return skopeo's command line; it writes the digest of what it has put there to the file ``digests``."""
    words = registry.copy("dest", options, policy=policy)
    words += [f"--src-shared-blob-dir={blobs}", f"--digestfile={digests}"]
    return [*words, f"oci:{layout}:new", registry.address(name)]


def push(store: Store, entry: Descriptor, name: Reference, options: Options) -> str:
    """Put an image into a registry, and return the digest that it has there; raises an Error saying what went wrong.

    A registry gets layers compressed: those that are not here have another digest there.
    """

    def put(place: str, options: Options) -> str:
        os.mkdir(f"{place}/oci")
        public = entry.replace(annotations={manifest.NAME: "new"})
        for path, text in (("oci-layout", LAYOUT), ("index.json", manifest.index_text((public,)))):
            with open(f"{place}/oci/{path}", "xb") as file:
                file.write(text)
        blobs, policy = os.path.dirname(store.blobs), os.path.exists(registry.POLICY)
        words = command(name, f"{place}/oci", blobs, options, f"{place}/digest", policy=policy)
        registry.run(words, f"pushing {catalog.id_(entry)[: catalog.SHORT]} to", name)
        with open(f"{place}/digest", encoding="ascii") as file:
            return file.read().strip()

    with store.shared():
        return registry.speak(store, name, options, put)

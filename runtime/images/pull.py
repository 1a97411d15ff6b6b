"""Gets images from registries.

skopeo copies into a layout of its own whose blobs are the store's: what has arrived is there for the next attempt.
"""

from __future__ import annotations

import os

from runtime.images import add, manifest, registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.images.progress import Progress
    from runtime.images.reference import Reference
    from runtime.images.registry import Options
    from runtime.images.store import Store


def command(name: Reference, layout: str, blobs: str, options: Options, *, policy: bool) -> list[str]:
    """Return skopeo's command line; ``policy``: the host has one about signatures."""
    words = registry.copy("src", options, policy=policy)
    return [*words, f"--dest-shared-blob-dir={blobs}", registry.address(name), f"oci:{layout}:new"]


def pull(store: Store, name: Reference, options: Options, progress: Progress) -> str:
    """Get an image and return its id; raises an Error saying what the registry did not like."""

    def get(place: str, options: Options) -> str:
        blobs = os.path.dirname(store.blobs)  # skopeo adds the algorithm
        policy = os.path.exists(registry.POLICY)
        registry.run(command(name, f"{place}/oci", blobs, options, policy=policy), "pulling", name)
        path = f"{place}/oci/index.json"
        with open(path, "rb") as file:
            (found,) = manifest.index(file.read(), path)
        return add.add(store, found, (str(name),), progress)

    with store.shared():
        return registry.speak(store, name, options, get)

"""Removes what nobody needs: blobs no image has, layers neither image nor container lies on, and what was cut off."""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime.images import catalog, layers, manifest
from runtime.kernel import removal
from runtime.kernel.taken import disk_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from runtime.images.manifest import Descriptor
    from runtime.images.store import Store


class Removed(Record):
    """What went."""

    images: tuple[Descriptor, ...]
    layers: int
    bytes: int
    """Of the disk, with the blobs' and the layers' own."""


def garbage(present: Iterable[str], needed: Iterable[str]) -> list[str]:
    """Return what is present and not needed, in order."""
    return sorted(set(present) - set(needed))


def collect(store: Store) -> tuple[int, int]:
    """Remove the garbage; return how many layers it was, and bytes. The caller holds ``store.alone``."""
    entries = store.entries()
    blobs: set[str] = set()
    for entry in entries:
        blobs.add(entry.digest)
        contents = manifest.manifest(store.read(entry.digest), f"manifest {entry.digest}")
        blobs.update(blob.digest for blob in (contents.config, *contents.layers))
    chains = {chain for entry in entries for chain in catalog.chains(entry)}
    chains.update(chain for use in store.uses() for chain in use.get("layers", ()))
    freed = 0
    for left in os.listdir(store.incoming):
        freed += _remove(f"{store.incoming}/{left}")
    for blob in garbage(os.listdir(store.blobs), (digest.removeprefix("sha256:") for digest in blobs)):
        freed += _remove(f"{store.blobs}/{blob}")
    gone = garbage(os.listdir(store.layers), chains)
    for name in gone:
        dead = f"{store.layers}/{name}"
        if not name.startswith((layers.NEW, layers.DEAD)):  # at once: half a layer must never look like one
            dead = f"{store.layers}/{layers.DEAD}{name}"
            os.rename(f"{store.layers}/{name}", dead)
        freed += _remove(dead)
    return len(gone), freed


def _remove(path: str) -> int:
    freed = disk_bytes(path)
    if os.path.isdir(path) and not os.path.islink(path):
        removal.remove_tree(path)
    else:
        os.unlink(path)
    return freed


def remove(
    store: Store,
    choose: Callable[[tuple[Descriptor, ...], list[str]], tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]],
) -> Removed:
    """Remove the images that ``choose`` says, of the entries and the ids containers are made of, and all garbage."""
    gone: tuple[Descriptor, ...] = ()

    def change(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
        nonlocal gone
        stay, gone = choose(entries, used(store.uses()))
        return stay

    with store.alone():
        store.change(change)
        return Removed(gone, *collect(store))


def used(uses: Iterable[dict[str, Any]]) -> list[str]:
    """Return the ids of the images that containers are made of."""
    return [use["id"] for use in uses if isinstance(use.get("id"), str)]

"""What images, containers and volumes take of the disk, and what of it nobody needs."""

from __future__ import annotations

from lxcfs_py.errors import Error
from runtime import volumes
from runtime.images import catalog, manifest, prune
from runtime.images.store import Store
from runtime.kernel.taken import disk_bytes
from runtime.lifecycle import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from runtime.images.manifest import Descriptor

    Pieces = Mapping[str, Mapping[str, int]]


def pieces(store: Store, entry: Descriptor) -> dict[str, int]:
    """Return the bytes of each layer and blob of an image; what is damaged or gone takes nothing."""
    found = {}
    try:
        contents = manifest.manifest(store.read(entry.digest), f"manifest {entry.digest}")
        digests = [entry.digest, *(blob.digest for blob in (contents.config, *contents.layers))]
        found = {digest: disk_bytes(store.blob(digest)) for digest in digests}
        found |= {chain: int(store.about(chain)["bytes"]) for chain in catalog.chains(entry)}
    except (Error, KeyError, TypeError, ValueError):
        return found
    return found


def images(of: Pieces, names: Mapping[str, list[str]], used: Collection[str]) -> list[dict[str, Any]]:
    """Return what each image takes: of that what is its own alone goes with it."""
    found = []
    for id_, mine in of.items():
        others = {key for other, theirs in of.items() if other != id_ for key in theirs}
        alone = sum(size for key, size in mine.items() if key not in others)
        total = sum(mine.values())
        found.append(
            {
                "id": id_, "names": names.get(id_, []), "size_bytes": total, "shared_bytes": total - alone,
                "unique_bytes": alone, "containers": list(used).count(id_),
            }
        )  # fmt: skip
    return found


def union(of: Pieces, wanted: Collection[str]) -> int:
    """Return what some images take together."""
    return sum({key: size for id_ in wanted if id_ in of for key, size in of[id_].items()}.values())


def row(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    """Return a line of the summary."""
    return {"type": kind, "total": total, "active": active, "size_bytes": size, "reclaimable_bytes": reclaimable}


def gather(root: str, storage: str) -> dict[str, Any]:
    """Return it as JSON values, with a ``summary``."""
    store = Store(storage)
    entries, used = store.entries(), prune.used(store.uses())
    of = {catalog.id_(entry): pieces(store, entry) for entry in entries}
    names: dict[str, list[str]] = {}
    for entry in entries:
        names.setdefault(catalog.id_(entry), []).extend(filter(None, [catalog.name(entry)]))
    containers: list[dict[str, Any]] = [
        {
            "id": each["id"], "image": each["image"], "status": each["status"],
            "size_bytes": disk_bytes(each["storage"]) if each.get("storage") else 0,
        }
        for each in listing.gather(root, storage)
    ]  # fmt: skip
    uses = volumes.uses(storage)
    held: list[dict[str, Any]] = [
        {"name": name, "used_by": uses.get(name, []), "size_bytes": disk_bytes(volumes.place(storage, name))}
        for name in volumes.names(storage)
    ]  # fmt: skip
    live = [each for each in containers if each["status"] in listing.LIVE]
    active = set(used) & set(of)
    size = union(of, of)
    taken, kept = [sum(each["size_bytes"] for each in group) for group in (containers, live)]
    free = [each["size_bytes"] for each in held if not each["used_by"]]
    return {
        "summary": [
            row("Images", len(of), len(active), size, size - union(of, active)),
            row("Containers", len(containers), len(live), taken, taken - kept),
            row("Volumes", len(held), len(held) - len(free), sum(each["size_bytes"] for each in held), sum(free)),
        ],
        "images": images(of, names, used),
        "containers": containers,
        "volumes": held,
    }

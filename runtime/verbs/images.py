"""``pyproc images``: the images that are here."""

from __future__ import annotations

import sys

from lxcfs_py.errors import Error
from runtime.command_line import Option
from runtime.verbs import Verb
from runtime.verbs.list import table
from runtime.verbs.pull import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runtime.images.manifest import Descriptor
    from runtime.images.store import Store

VERB = Verb(
    "images",
    "List images.",
    "[IMAGE]",
    0,
    1,
    (
        Option(("-q", "--quiet"), "Show ids only", kind="flag"),
        Option(("--no-trunc",), "Show whole ids", kind="flag"),
        JSON,
    ),
)
COLUMNS = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")
NONE = "<none>"


def describe(store: Store, entry: Descriptor) -> dict[str, Any]:
    """Return what is said of an image; ``size_bytes`` is what the files of its layers hold."""
    from runtime.images import catalog, manifest

    digest = f"sha256:{catalog.id_(entry)}"
    image = manifest.image(store.read(digest), f"configuration {digest}")
    return {
        "id": catalog.id_(entry),
        "name": catalog.name(entry),
        "digest": entry.digest,
        "created": image.created,
        "size_bytes": sum(int(store.about(chain)["bytes"]) for chain in catalog.chains(entry)),
        "layers": list(image.diff_ids),
        "architecture": image.architecture,
        "os": image.system,
        "config": image.config.as_dict(),
    }


def row(found: dict[str, Any], *, whole: bool) -> tuple[str, ...]:
    """Return one image's columns."""
    from runtime.images import reference
    from runtime.images.catalog import SHORT
    from runtime.images.progress import size

    id_ = found["id"] if whole else found["id"][:SHORT]
    repository = tag = NONE
    if found["name"]:
        name = reference.parse(found["name"])
        repository, tag = name.familiar, name.tag or NONE
    return repository, tag, id_, found["created"][:19].replace("T", " "), size(found["size_bytes"])


def run(args: Sequence[str]) -> int:
    """Print the table, the ids or the JSON."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime.images import catalog
    from runtime.images.store import Store

    store = Store(parsed["storage"])
    entries = store.entries()
    if parsed.rest:
        entries = catalog.find(entries, parsed.rest[0])
    if parsed["quiet"]:
        ids = dict.fromkeys(catalog.id_(entry) for entry in entries)
        sys.stdout.write("".join(f"{id_ if parsed['no_trunc'] else id_[: catalog.SHORT]}\n" for id_ in ids))
        return 0
    found, bad = [], []
    for entry in sorted(entries, key=catalog.name):
        try:
            found.append(describe(store, entry))
        except Error as error:
            bad.append(f"{catalog.name(entry) or catalog.id_(entry)}: {error}")
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write(table((row(item, whole=parsed["no_trunc"]) for item in found), COLUMNS))
    if bad:
        raise Error("; ".join(bad))
    return 0

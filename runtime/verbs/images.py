"""``pyproc images``: the images that are here."""

from __future__ import annotations

import time

from lxcfs_py.errors import Error
from runtime import listed
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.command_line import Parsed
    from runtime.images.manifest import Descriptor
    from runtime.images.store import Store

NONE = "<none>"


def _refers(found: Mapping[str, Any], value: str) -> bool:
    """Say whether a name fits a pattern, with the tag or without, as Docker has it; the registry may be left out."""
    from fnmatch import fnmatchcase

    repository, tag = _names(found["name"])
    return any(fnmatchcase(name, value) for name in (found["name"], repository, f"{repository}:{tag}"))


LISTING = listed.Listing(
    {
        "Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedAt": "CREATED", "Size": "SIZE",
        "CreatedSince": "CREATED", "Digest": "DIGEST", "Labels": "LABELS", "Label": "",
        "Architecture": "ARCHITECTURE", "Os": "OS", "Containers": "CONTAINERS",
    },
    ("Repository", "Tag", "ID", "CreatedAt", "Size"),
    {
        "reference": _refers,
        "id": lambda found, value: found["id"].startswith(value.removeprefix("sha256:")),
        "label": lambda found, value: listed.labelled(found["config"].get("Labels") or {}, value),
        "dangling": lambda found, value: (not found["name"]) == (value == "true"),
        "before": lambda found, value: found["created"] < value,
        "since": lambda found, value: found["created"] > value,
    },
    {
        "repository": lambda found: found["name"],
        "created": lambda found: found["created"],
        "id": lambda found: found["id"],
        "size": lambda found: found["size_bytes"],
    },
    {"dangling": ("true", "false")},
    "ID",
    "ids",
)  # fmt: skip
VERB = Verb("images", "List images.", "[IMAGE]", 0, 1, (*LISTING.options(short="--filter"), JSON))


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


def _names(called: str) -> tuple[str, str]:
    """Return repository and tag of an image's name."""
    from runtime.images import reference

    if not called:
        return NONE, NONE
    name = reference.parse(called)
    return name.familiar, name.tag or NONE


def row(found: Mapping[str, Any], *, whole: bool, used: Sequence[str] = ()) -> dict[str, Any]:
    """Return what is shown of an image, as Docker has it."""
    from runtime.images.catalog import SHORT
    from runtime.images.progress import size
    from runtime.lifecycle import listing

    repository, tag = _names(found["name"])
    labels = found["config"].get("Labels") or {}
    return {
        "Repository": repository,
        "Tag": tag,
        "ID": found["id"] if whole else found["id"][:SHORT],
        "CreatedAt": found["created"][:19].replace("T", " "),
        "CreatedSince": listing.ago(found["created"], time.time()),
        "Size": size(found["size_bytes"]),
        "Digest": found["digest"],
        "Labels": listed.pairs(labels),
        "Label": labels,
        "Architecture": found["architecture"],
        "Os": found["os"],
        "Containers": used.count(found["id"]),
    }


def _placed(asked: listed.Asked, entries: Sequence[Descriptor], store: Store) -> listed.Asked:
    """Return the filters with the dates of the images that ``before`` and ``since`` name."""
    from runtime.images import catalog

    return [
        (key, describe(store, catalog.find(entries, value)[0])["created"] if key in ("before", "since") else value)
        for key, value in asked
    ]


def run(parsed: Parsed) -> int:
    """Print the table, the ids, the JSON or the template's lines."""
    from runtime.images import catalog, prune
    from runtime.images.store import Store

    store = Store(parsed["storage"])
    entries = store.entries()
    asked = _placed(LISTING.asked(parsed["filter"]), entries, store)
    if parsed.rest:
        entries = catalog.find(entries, parsed.rest[0])
    found, bad = [], []
    for entry in sorted(entries, key=catalog.name):
        try:
            found.append(describe(store, entry))
        except Error as error:
            bad.append(f"{catalog.name(entry) or catalog.id_(entry)}: {error}")
    used = prune.used(store.uses())
    kept = [each for each in found if LISTING.fits(each, asked)]
    LISTING.show(parsed, kept, lambda each: row(each, whole=parsed["no_trunc"], used=used))
    if bad:
        raise Error("; ".join(bad))
    return 0

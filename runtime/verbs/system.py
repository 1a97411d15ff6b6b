"""``pyproc system``: what all of it takes of the disk, and getting back what nobody needs."""

from __future__ import annotations

import os
import sys

from runtime.command_line import Option
from runtime.errors import RunError
from runtime.listed import table
from runtime.options import JSON
from runtime.verbs import Group, Verb, act

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from runtime.command_line import Parsed
    from runtime.verbs import Chosen

DETAILS = {
    "images": (("IMAGE ID", "NAMES", "SIZE", "SHARED", "UNIQUE", "CONTAINERS"),
               ("id", "names", "size_bytes", "shared_bytes", "unique_bytes", "containers")),
    "containers": (("CONTAINER ID", "IMAGE", "STATUS", "SIZE"), ("id", "image", "status", "size_bytes")),
    "volumes": (("VOLUME NAME", "USED BY", "SIZE"), ("name", "used_by", "size_bytes")),
}  # fmt: skip
"""The tables of -v: headings, and keys."""


def _cell(kind: str, key: str, value: Any) -> str:
    from runtime.images.catalog import SHORT
    from runtime.images.progress import size

    if key.endswith("_bytes"):
        return size(value)
    if isinstance(value, list):
        return ",".join(value)
    return value[:SHORT] if (kind, key) == ("images", "id") else str(value)  # a container's may be its name


def tables(found: dict[str, Any], *, verbose: bool) -> str:
    """Return what people are shown."""
    from runtime.images.progress import size

    if not verbose:
        rows = []
        for each in found["summary"]:
            share = each["reclaimable_bytes"] * 100 // each["size_bytes"] if each["size_bytes"] else 0
            reclaimable = f"{size(each['reclaimable_bytes'])} ({share}%)"
            rows.append((each["type"], each["total"], each["active"], size(each["size_bytes"]), reclaimable))
        return table(rows, ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"))
    return "\n".join(
        f"{kind.capitalize()}:\n"
        + table(([_cell(kind, key, each[key]) for key in keys] for each in found[kind]), headings)
        for kind, (headings, keys) in DETAILS.items()
    )


def df(parsed: Parsed) -> None:
    """Print it."""
    from runtime.lifecycle import space

    found = space.gather(parsed["root"], parsed["storage"])
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write(tables(found, verbose=parsed["verbose"]))


def _agreed(what: Iterable[str]) -> bool:
    """Ask whether all that is to go."""
    if not os.isatty(0):
        raise RunError("system prune: there is nobody to ask whether it may", "give -f, or run it on a terminal")
    os.write(2, f"This removes {', '.join(what)}. Go on? [y/N] ".encode())
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def prune(parsed: Parsed) -> None:
    """Remove what nobody needs, and say what went."""
    from runtime import places, volumes
    from runtime.images import catalog, progress
    from runtime.images import prune as pruning
    from runtime.images.store import Store
    from runtime.lifecycle import space
    from runtime.verbs import prune as verb

    everything, storage = parsed["all"], parsed["storage"]
    what = [
        "all containers that have ended",
        *([] if places.unprivileged() else ["all networks no container is connected to"]),
        *(["all anonymous volumes no container has"] if parsed["volumes"] else []),
        "all images no container is made of" if everything else "all images without a name",
    ]
    if not parsed["force"] and not _agreed(what):
        return
    before = space.gather(parsed["root"], storage)
    sizes = {(kind, each[key]): each["size_bytes"] for kind, key in (("containers", "id"), ("volumes", "name"))
             for each in before[kind]}  # fmt: skip
    gone: dict[str, list[str]] = {"containers": verb.ended(parsed), "networks": [], "volumes": []}
    if not places.unprivileged():
        from runtime.lifecycle import joining
        from runtime.network import bridge

        gone["networks"] = bridge.remove(storage, None, joining.remembered(storage))
    if parsed["volumes"]:
        gone["volumes"] = volumes.prune(storage, lambda about: about["anonymous"])
    removed = pruning.remove(
        Store(storage), lambda entries, used: catalog.pruned(entries, used, everything=everything)
    )
    gone["images"] = [catalog.name(entry) or catalog.id_(entry) for entry in removed.images]
    freed = removed.bytes + sum(sizes.get((kind, name), 0) for kind, names in gone.items() for name in names)
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps({**gone, "layers": removed.layers, "freed_bytes": freed}) + "\n")
        return
    for kind, names in gone.items():
        sys.stdout.write("".join(f"removed {kind[:-1]} {name}\n" for name in names))
    sys.stdout.write(f"{progress.size(freed)} freed\n")


VERBS = (
    (
        Verb(
            "df",
            "Tell what images, containers and volumes take of the disk, and what of it could be freed.",
            "",
            0,
            0,
            (Option(("-v", "--verbose"), "Tell it of each", kind="flag"), JSON),
        ),
        df,
    ),
    (
        Verb(
            "prune",
            "Remove ended containers, networks nobody is connected to and images without a name.",
            "",
            0,
            0,
            (
                Option(("-a", "--all"), "All images that no container is made of", kind="flag"),
                Option(("--volumes",), "The anonymous volumes that no container has, too", kind="flag"),
                Option(("-f", "--force"), "Don't ask", kind="flag"),
                JSON,
            ),
        ),
        prune,
    ),
)
VERB = Group(
    "system", "See what all of it takes of the disk, and free it.", tuple(verb for verb, _ in VERBS), mapped=True
)


def run(chosen: Chosen) -> int:
    """Do what the word after ``system`` says."""
    return act(chosen, VERBS)

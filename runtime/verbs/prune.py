"""``pyproc prune``: remove images nobody needs, and what interrupted work has left."""

from __future__ import annotations

import sys

from runtime.options import Option
from runtime.verbs import Verb
from runtime.verbs.pull import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb(
    "prune",
    "Remove images without a name, and what interrupted work has left.",
    "",
    0,
    0,
    (Option(("-a", "--all"), "All images that no container is made of", kind="flag"), JSON),
    mapped=True,
)


def run(args: Sequence[str]) -> int:
    """Remove them, and say what went."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime.images import catalog, prune
    from runtime.images.progress import size
    from runtime.images.store import Store

    everything = parsed["all"]
    removed = prune.remove(
        Store(parsed["storage"]), lambda entries, used: catalog.pruned(entries, used, everything=everything)
    )
    names = [catalog.name(entry) or catalog.id_(entry) for entry in removed.images]
    if parsed["json"]:
        import json

        value = {"images": names, "layers": removed.layers, "freed_bytes": removed.bytes}
        sys.stdout.write(json.dumps(value) + "\n")
    else:
        sys.stdout.write("".join(f"removed {name}\n" for name in names))
        sys.stdout.write(f"{len(names)} images and {removed.layers} layers removed, {size(removed.bytes)} freed\n")
    return 0

"""``pyproc prune``: remove images nobody needs, what interrupted work has left, and containers that have ended."""

from __future__ import annotations

import sys

from runtime.command_line import Option
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "prune",
    "Remove images without a name, and what interrupted work has left.",
    "",
    0,
    0,
    (
        Option(("-a", "--all"), "All images that no container is made of", kind="flag"),
        Option(("--containers",), "First all containers that have ended", kind="flag"),
        JSON,
    ),
    mapped=True,
)


def ended(parsed: Parsed) -> list[str]:
    """Remove the containers that have ended, but for those systemd starts again; return their ids."""
    from runtime import state
    from runtime.lifecycle import listing
    from runtime.verbs import delete

    gone = []
    for found in listing.gather(parsed["root"], parsed["storage"], (("status", state.STOPPED),)):
        if state.RESTART not in found["annotations"]:
            delete.delete(parsed, found["id"], force=False)
            gone.append(found["id"])
    return gone


def run(parsed: Parsed) -> int:
    """Remove them, and say what went."""
    from runtime.images import catalog, prune
    from runtime.images.progress import size
    from runtime.images.store import Store

    gone = ended(parsed) if parsed["containers"] else []
    everything = parsed["all"]
    removed = prune.remove(
        Store(parsed["storage"]), lambda entries, used: catalog.pruned(entries, used, everything=everything)
    )
    names = [catalog.name(entry) or catalog.id_(entry) for entry in removed.images]
    if parsed["json"]:
        import json

        value = {"containers": gone, "images": names, "layers": removed.layers, "freed_bytes": removed.bytes}
        sys.stdout.write(json.dumps(value) + "\n")
    else:
        sys.stdout.write("".join(f"removed {name}\n" for name in (*gone, *names)))
        sys.stdout.write(f"{len(names)} images and {removed.layers} layers removed, {size(removed.bytes)} freed\n")
    return 0

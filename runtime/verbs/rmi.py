"""``pyproc rmi``: remove images."""

from __future__ import annotations

import os
import sys

from runtime.command_line import Option
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "rmi",
    "Remove images, and the layers no other image or container has.",
    "IMAGE...",
    1,
    None,
    (
        Option(("-f", "--force"), "Even if it has several names, or a container is made of it", kind="flag"),
        JSON,
    ),
    mapped=True,
)


def run(parsed: Parsed) -> int:
    """Remove each; the first that can't be removed ends it."""
    from runtime.images import catalog, prune
    from runtime.images.store import Store

    store, force = Store(parsed["storage"]), parsed["force"]
    found = []
    for text in parsed.rest:
        removed = prune.remove(
            store,
            lambda entries, used, text=text: catalog.removed(entries, text, used, force=force),  # type: ignore[misc]
        )
        for entry in removed.images:
            found.append({"id": catalog.id_(entry), "name": catalog.name(entry)})
            if not parsed["json"]:
                os.write(1, f"removed {catalog.name(entry) or catalog.id_(entry)}\n".encode())
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps(found) + "\n")
    return 0

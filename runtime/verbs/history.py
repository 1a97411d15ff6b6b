"""``pyproc history``: how an image came to be."""

from __future__ import annotations

import sys

from runtime.command_line import Option
from runtime.listed import table
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.command_line import Parsed

VERB = Verb(
    "history",
    "Tell how an image came to be, the last step first.",
    "IMAGE",
    1,
    1,
    (Option(("--no-trunc",), "Show whole commands", kind="flag"), JSON),
)
COLUMNS = ("CREATED", "CREATED BY", "SIZE", "COMMENT")
WIDTH = 45


def steps(config: Mapping[str, Any], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return the steps, the last first; of the layers' ``sizes``, the base first, those without a step come last."""
    left, found = list(sizes), []
    for step in reversed([step for step in config.get("history") or () if isinstance(step, dict)]):
        texts = {
            key: step[key] if isinstance(step.get(key), str) else "" for key in ("created", "created_by", "comment")
        }
        found.append({**texts, "size_bytes": left.pop() if left and not step.get("empty_layer") else 0})
    blank = {"created": "", "created_by": "", "comment": ""}
    return [*found, *({**blank, "size_bytes": size} for size in reversed(left))]


def printable(text: str) -> str:
    """Return a text on one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def run(parsed: Parsed) -> int:
    """Print the table or the JSON."""
    from lxcfs_py import json_text
    from runtime.images import catalog
    from runtime.images.progress import size
    from runtime.images.store import Store

    store = Store(parsed["storage"])
    entry = catalog.find(store.entries(), parsed.rest[0])[0]
    config = json_text.loads(store.read(f"sha256:{catalog.id_(entry)}"))
    found = steps(config, [int(store.about(chain)["bytes"]) for chain in catalog.chains(entry)])
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    rows = []
    for step in found:
        command = printable(step["created_by"])
        if len(command) > WIDTH and not parsed["no_trunc"]:
            command = f"{command[: WIDTH - 1]}…"
        rows.append(
            (step["created"][:19].replace("T", " "), command, size(step["size_bytes"]), printable(step["comment"]))
        )
    sys.stdout.write(table(rows, COLUMNS))
    return 0

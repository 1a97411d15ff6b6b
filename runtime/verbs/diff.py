"""``pyproc diff``: what a container has changed in its file system."""

from __future__ import annotations

import os
import sys

from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.command_line import Parsed
    from runtime.lifecycle.upper import Part

VERB = Verb(
    "diff",
    "Tell what a container has added (A), changed (C) and deleted (D); volumes and binds are not looked into.",
    "ID",
    1,
    1,
    (JSON,),
    mapped=True,
)


def changes(part: Part) -> Iterator[tuple[str, bytes]]:
    """Yield letter and path of each change in a part of the root; a directory a part is at is changed with it."""
    from runtime.images import diff
    from runtime.root.lower import Lower

    at = f"/{part.name}".encode().rstrip(b"/")
    upper = os.open(part.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lower = Lower(part.lowers)
    try:
        first = True
        for letter, path in diff.changes(upper, lower):
            if first and at:
                yield diff.CHANGED, at
            first = False
            yield letter, at + b"/" + path
    finally:
        lower.close()
        os.close(upper)


def run(parsed: Parsed) -> int:
    """Print a line for each, in the order of the paths."""
    from runtime.lifecycle import upper

    found = finding.get(parsed, parsed.rest[0])
    all_ = sorted((change for part in upper.parts(found) for change in changes(part)), key=lambda change: change[1])
    if parsed["json"]:
        import json

        value = [{"kind": letter, "path": path.decode("utf-8", "surrogateescape")} for letter, path in all_]
        sys.stdout.write(json.dumps(value) + "\n")
    else:
        sys.stdout.buffer.write(b"".join(b"%b %b\n" % (letter.encode(), path) for letter, path in all_))
    return 0

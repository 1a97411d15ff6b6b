"""``pyproc wait``: wait until containers have ended, and print how."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from runtime.lifecycle import finding
from runtime.verbs import Verb
from runtime.verbs.pull import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb("wait", "Wait until containers have ended, and print their exit codes.", "ID...", 1, None, (JSON,))


def run(args: Sequence[str]) -> int:
    """Wait for one after the other; an exit code that nobody has written down is an Error."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime.lifecycle import ending

    root = parsed["root"]
    for found in [finding.get(parsed, text) for text in parsed.rest]:
        code = ending.code(found, ending.follow(root, found))
        text = json_text.dumps({"id": found.id, "exitCode": code}).decode() if parsed["json"] else f"{code}"
        os.write(1, f"{text}\n".encode())
    return 0

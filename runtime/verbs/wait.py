"""``pyproc wait``: wait until containers have ended, and print how."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from runtime.command_line import Option
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.state import State

ENDED = ("stopped", "exited", "not-running")
"""The words for an end, of ours, Podman's and Docker's."""
CONDITIONS = (*ENDED, "removed", "running", "created", "paused")
NO_CODE = -1
"""What is printed of what has not ended, as Podman does."""
VERB = Verb(
    "wait",
    "Wait until containers have ended, and print their exit codes.",
    "ID...",
    1,
    None,
    (
        Option(
            ("--condition",),
            "Or until they are so; of one that has not ended -1 is printed",
            "|".join(CONDITIONS),
            choices=CONDITIONS,
            default=CONDITIONS[0],
        ),
        JSON,
    ),
)


def _code(parsed: Parsed, found: State) -> int:
    """Wait for one, and return its exit code, if it has ended."""
    from runtime.lifecycle import ending, reaching

    root, condition = parsed["root"], parsed["condition"]
    if condition in ENDED:
        return ending.code(found, ending.follow(root, found))
    known = ending.follow(root, found) if condition == reaching.REMOVED else None
    reaching.reach(root, found, condition)
    return NO_CODE if known is None or known.exit_code is None else known.exit_code


def run(parsed: Parsed) -> int:
    """Wait for one after the other; an exit code that nobody has written down is an Error."""
    for found in [finding.get(parsed, text) for text in parsed.rest]:
        code = _code(parsed, found)
        text = json_text.dumps({"id": found.id, "exitCode": code}).decode() if parsed["json"] else f"{code}"
        os.write(1, f"{text}\n".encode())
    return 0

"""``pyproc list``: the containers that exist, running or ended."""

from __future__ import annotations

import time

from runtime import listed
from runtime.lifecycle import listing
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runtime.command_line import Parsed

HEADINGS = {**listing.HEADINGS, "ID": "ID", "State": "STATUS", "CreatedAt": "CREATED"}
"""As runc has them."""
LISTING = listing.CONTAINERS.replace(headings=HEADINGS, usual=("ID", "Pid", "State", "CreatedAt", "Command"))
VERB = Verb("list", "List all containers, with their processes.", "", 0, 0, (*LISTING.options(), JSON))


def run(parsed: Parsed) -> int:
    """Print the table, the ids, the JSON or the template's lines."""
    root = parsed["root"]
    found = listing.gather(root, parsed["storage"], LISTING.asked(parsed["filter"]))
    rows = listing.Rows(root, found, time.time_ns(), whole=parsed["no_trunc"])

    def row(each: Mapping[str, Any]) -> listed.Lazy:
        command = " ".join(each["command"])
        others = {"Command": lambda: command if rows.whole else command[:40], "State": lambda: each["status"]}
        return listed.Lazy({**rows.row(each), **others})

    LISTING.show(parsed, found, row)
    return 0

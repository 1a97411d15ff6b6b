"""``pyproc list``: the containers that exist, running or ended."""

from __future__ import annotations

import sys

from runtime.command_line import Option
from runtime.verbs import Verb
from runtime.verbs.pull import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

QUIET = Option(("-q", "--quiet"), "Show ids only", kind="flag")
FORMAT = Option(("-f", "--format"), "How to write them", "table|json", choices=("table", "json"), default="table")
FILTER = Option(("--filter",), "Only those with id, name, status, exited, ancestor or label", "KEY=VALUE", many=True)
VERB = Verb("list", "List all containers, with their processes.", "", 0, 0, (QUIET, FORMAT, FILTER, JSON))
COLUMNS = ("ID", "PID", "STATUS", "CREATED", "COMMAND")


def row(found: dict[str, Any]) -> tuple[str, ...]:
    """Return one container's columns."""
    command = " ".join(found["command"])
    return found["id"], str(found["pid"]), found["status"], found["created"], command[:40]


def table(rows: Iterable[Sequence[str]], columns: Sequence[str] = COLUMNS) -> str:
    """Return rows under their heading, columns aligned."""
    lines = [columns, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "".join(f"{line}\n" for line in padded)


def run(args: Sequence[str]) -> int:
    """Print the table, the ids or the JSON."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime.lifecycle import listing

    found = listing.gather(parsed["root"], parsed["storage"], listing.filters(parsed["filter"]))
    if parsed["quiet"]:
        sys.stdout.write("".join(f"{each['id']}\n" for each in found))
    elif parsed["json"] or parsed["format"] == "json":
        import json

        sys.stdout.write(json.dumps(listing.plain(found)) + "\n")
    else:
        sys.stdout.write(table(map(row, found)))
    return 0

"""``pyproc list``: the containers that exist, running or ended."""

from __future__ import annotations

import sys

from lxcfs_py.errors import Error
from runtime import state
from runtime.lifecycle import oci
from runtime.options import Option
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

VERB = Verb(
    "list",
    "List containers.",
    "",
    0,
    0,
    (
        Option(("-q", "--quiet"), "Show ids only", kind="flag"),
        Option(("-f", "--format"), "How to write them", "table|json", choices=("table", "json"), default="table"),
    ),
)
COLUMNS = ("ID", "PID", "STATUS", "CREATED", "COMMAND")
BROKEN = "broken"
"""The status of a container whose state can't be read."""


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


def gather(root: str) -> list[dict[str, Any]]:
    """Return every container's state as JSON values; one whose state can't be read is ``broken``."""
    found = []
    for id_ in state.ids(root):
        try:
            found.append(oci.describe(root, state.load(root, id_)))
        except Error:
            if state.exists(root, id_):  # else it was removed while we looked
                found.append(
                    {
                        "id": id_,
                        "pid": 0,
                        "status": BROKEN,
                        "created": "",
                        "command": [],
                        "bundle": f"{root}/{id_}",
                        "annotations": {},
                    }
                )
    return found


def run(args: Sequence[str]) -> int:
    """Print the table, the ids or the JSON."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    if parsed["quiet"]:
        sys.stdout.write("".join(f"{id_}\n" for id_ in state.ids(parsed["root"])))
    elif parsed["format"] == "json":
        import json

        sys.stdout.write(json.dumps(gather(parsed["root"])) + "\n")
    else:
        sys.stdout.write(table(map(row, gather(parsed["root"]))))
    return 0

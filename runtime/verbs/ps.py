"""``pyproc ps``: the processes of a container, as the host counts them."""

from __future__ import annotations

import sys

from lxcfs_py.errors import Error
from runtime import state
from runtime.options import Option
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb(
    "ps",
    "Show the processes of a container, by ps(1) or as JSON.",
    "ID [PS-OPTION]...",
    1,
    None,
    (Option(("-f", "--format"), "How to write them", "table|json", choices=("table", "json"), default="table"),),
    interspersed=False,
)


def selected(text: str, pids: set[int]) -> str:
    """Return the heading of ps(1)'s table and the lines of these processes; raises an Error without a PID column."""
    heading, *lines = text.splitlines()
    columns = heading.split()
    if "PID" not in columns:
        raise Error("ps: its table has no column PID", "give it options that make one, as -ef")
    at = columns.index("PID")
    kept = [line for line in lines if line.split()[at : at + 1] and int(line.split()[at]) in pids]
    return "".join(f"{line}\n" for line in (heading, *kept))


def run(args: Sequence[str]) -> int:
    """Show them."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from lxcfs_py import json_text
    from runtime.lifecycle import members

    root = parsed["root"]
    found = state.load(root, state.find(root, parsed.rest[0]))
    pids = members.pids(found)
    if parsed["format"] == "json":
        sys.stdout.write(json_text.dumps(sorted(pids)).decode() + "\n")
        return 0
    import subprocess

    try:
        done = subprocess.run(
            ["ps", *(parsed.rest[1:] or ("-ef",))], capture_output=True, text=True, check=False, stdin=-3
        )
    except FileNotFoundError:
        raise Error("ps(1) is not installed", "use --format json") from None
    if done.returncode:
        raise Error(f"ps: {done.stderr.strip()}", "see ps(1) for its options")
    sys.stdout.write(selected(done.stdout, pids))
    return 0

"""``pyproc ps``: the containers that run, as Docker lists them; with an id its processes, as runc does."""

from __future__ import annotations

import sys
import time

from lxcfs_py.errors import Error
from runtime.command_line import Option
from runtime.lifecycle import finding, listing
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime import state
    from runtime.command_line import Parsed

VERB = Verb(
    "ps",
    "List the containers that run; with an ID, show its processes, by ps(1) or as JSON.",
    "[ID [PS-OPTION]...]",
    0,
    None,
    (
        Option(("-a", "--all"), "Those that have ended, too", kind="flag"),
        Option(("-n", "--last"), "Only the last N that were made, ended or not", "N", "count"),
        Option(("-l", "--latest"), "Only the last that was made", kind="flag"),
        *listing.CONTAINERS.options(short="--filter"),
        JSON,
    ),
    interspersed=False,
)


def containers(parsed: Parsed) -> None:
    """Print the containers, the newest first."""
    asked = listing.CONTAINERS.asked(parsed["filter"])
    found = listing.gather(parsed["root"], parsed["storage"], asked)
    last = 1 if parsed["latest"] else parsed["last"]
    if not parsed["all"] and last is None and not any(key in ("status", "exited") for key, _ in asked):
        found = [each for each in found if each["status"] in listing.LIVE]
    found.sort(key=lambda each: -each["_nsec"][0])
    rows = listing.Rows(parsed["root"], found, time.time_ns(), whole=parsed["no_trunc"])
    listing.CONTAINERS.show(parsed, found[:last], rows.row)


def selected(text: str, pids: set[int]) -> str:
    """Return the heading of ps(1)'s table and the lines of these processes; raises an Error without a PID column."""
    heading, *lines = text.splitlines()
    columns = heading.split()
    if "PID" not in columns:
        raise Error("ps: its table has no column PID", "give it options that make one, as -ef")
    at = columns.index("PID")
    kept = [line for line in lines if line.split()[at : at + 1] and int(line.split()[at]) in pids]
    return "".join(f"{line}\n" for line in (heading, *kept))


def processes(found: state.State, options: Sequence[str], *, as_json: bool) -> None:
    """Print a container's processes."""
    from lxcfs_py import json_text
    from runtime.lifecycle import members

    pids = set(members.pids(found))
    if as_json:
        sys.stdout.write(json_text.dumps(sorted(pids)).decode() + "\n")
        return
    import subprocess

    try:
        done = subprocess.run(["ps", *(options or ("-ef",))], capture_output=True, text=True, check=False, stdin=-3)
    except FileNotFoundError:
        raise Error("ps(1) is not installed", "use --format json") from None
    if done.returncode:
        raise Error(f"ps: {done.stderr.strip()}", "see ps(1) for its options")
    sys.stdout.write(selected(done.stdout, pids))


def run(parsed: Parsed) -> int:
    """Show them."""
    if not parsed.rest:
        containers(parsed)
    else:
        found = finding.get(parsed, parsed.rest[0])
        processes(found, parsed.rest[1:], as_json=parsed["json"] or parsed["format"] == "json")
    return 0

"""``pyproc events``: what happens to all containers; with an id, as runc has it, what that one uses."""

from __future__ import annotations

import sys
import time

from lxcfs_py.errors import Error
from runtime import state
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import finding
from runtime.verbs import Verb
from runtime.verbs.pull import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.command_line import Parsed

FILTER = Option(("--filter",), "Only of container=NAME, or only event=WORD", "KEY=VALUE", many=True)
VERB = Verb(
    "events",
    "Print what happens to containers; with an ID what that one uses, as runc does.",
    "[ID]",
    0,
    1,
    (
        Option(("--stats",), "Print it once and end", kind="flag"),
        Option(("--interval",), "Time between two looks (5s)", "SECONDS", "interval"),
        FILTER,
        JSON,
    ),
)


def _say(kind: str, id_: str, data: object = None) -> None:
    from lxcfs_py import json_text

    record = {"type": kind, "id": id_, **({} if data is None else {"data": data})}
    sys.stdout.write(json_text.dumps(record).decode() + "\n")
    sys.stdout.flush()


def _all(parsed: Parsed) -> int:
    """Print what happens to all containers from now on, a line each."""
    from lxcfs_py import json_text
    from runtime.lifecycle import happening

    asked = [text.partition("=")[::2] for text in parsed["filter"]]
    for key, value in asked:
        if key not in ("container", "event") or not value:
            raise RunError(f"--filter {key}={value}: unknown", "write container=NAME or event=WORD")
    for event in happening.watch(parsed["root"]):
        fits = {key: any(getattr(event, key) == value for k, value in asked if k == key) for key, _ in asked}
        if all(fits.values()):
            text = json_text.dumps(event.as_json()).decode() if parsed["json"] else str(event)
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
    return 0


def run(args: Sequence[str]) -> int:
    """Print until the container ends, or once."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    if not parsed.rest:
        return _all(parsed)
    from lxcfs_py.cgroup import control
    from runtime import places
    from runtime.lifecycle import members, stats

    root = parsed["root"]
    found = finding.get(parsed, parsed.rest[0])
    if state.status(root, found) == state.STOPPED:
        raise Error(f"container not running: {found.id!r}", "what has ended uses nothing")
    members.needs_cgroup(found, "measured")
    there = places.layout(found.cgroup)
    if parsed["stats"]:
        _say("stats", found.id, stats.gather(places.host(), there, found.cgroup))
        return 0
    seconds = parsed["interval"] or 5.0
    kills = control.oom_kills(there, found.cgroup)
    while True:
        _say("stats", found.id, stats.gather(places.host(), there, found.cgroup))
        due = time.monotonic() + seconds
        while time.monotonic() < due:
            time.sleep(min(0.5, seconds))
            if state.status(root, found) == state.STOPPED:
                return 0
            now = control.oom_kills(there, found.cgroup)
            if now > kills:
                _say("oom", found.id)
            kills = now

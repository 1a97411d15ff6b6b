"""``pyproc events``: what happens to all containers; with an id, as runc has it, what that one uses."""

from __future__ import annotations

import itertools
import sys
import time

from lxcfs_py.errors import Error
from runtime import listed, state, units
from runtime.command_line import Option
from runtime.lifecycle import finding, listing
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.command_line import Parsed
    from runtime.lifecycle.happening import Event

TESTS: dict[str, Callable[[Event, str], bool]] = {
    "container": lambda event, value: event.container == value,
    "event": lambda event, value: event.event == value,
    "image": lambda event, value: listing.is_image(str(event.attributes.get("image", "")), value),
    "type": lambda _event, value: value == "container",
}
"""What can be asked of an event, by key."""
VERB = Verb(
    "events",
    "Print what happens to containers; with an ID what that one uses, as runc does.",
    "[ID]",
    0,
    1,
    (
        Option(("--stats",), "Print it once and end", kind="flag"),
        Option(("--interval",), "Time between two looks (5s)", "SECONDS", "interval"),
        Option(("-f", "--filter"), f"Only those with {', '.join(TESTS)}", "KEY=VALUE", many=True),
        Option(("--since",), "First what happened since then, as far as what is there tells", "TIME"),
        Option(("--until",), "End then", "TIME"),
        Option(
            ("--format",),
            "How to write them: '{{.Time}} {{.Action}} {{.ID}}'",
            "json|TEMPLATE",
            choices=("json",),
            open=True,
        ),
        JSON,
    ),
)


def _say(kind: str, id_: str, data: object = None) -> None:
    from lxcfs_py import json_text

    record = {"type": kind, "id": id_, **({} if data is None else {"data": data})}
    sys.stdout.write(json_text.dumps(record).decode() + "\n")
    sys.stdout.flush()


def _written(parsed: Parsed) -> Callable[[Event], str]:
    """Return what makes a line of an event."""
    if parsed["json"] or parsed["format"] == "json":
        from lxcfs_py import json_text

        return lambda event: json_text.dumps(event.as_json()).decode()
    if not parsed["format"]:
        return str
    from runtime.template import compiled

    fill = compiled(parsed["format"])
    return lambda event: fill(event.keys())


def _all(parsed: Parsed) -> int:
    """Print what happens to all containers, a line each, from now on unless it is asked for an earlier time."""
    from runtime.lifecycle import happening

    now, asked, line = time.time_ns(), listed.filters(parsed["filter"], TESTS), _written(parsed)
    since, until = (
        units.moment(parsed[name], f"--{name}", now) if parsed[name] else None for name in ("since", "until")
    )
    past = happening.past(parsed["root"]) if since is not None else []
    before = [event for event in past if since is not None and since <= event.nsec <= (until or now)]
    for event in itertools.chain(before, happening.watch(parsed["root"], until)):
        if listed.fits(event, asked, TESTS):
            sys.stdout.write(f"{line(event)}\n")
            sys.stdout.flush()
    return 0


def run(parsed: Parsed) -> int:
    """Print until the container ends, or once."""
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

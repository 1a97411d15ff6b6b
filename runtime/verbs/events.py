"""``pyproc events``: what a container uses, as runc's JSON, and when it runs out of memory."""

from __future__ import annotations

import sys
import time

from lxcfs_py.errors import Error
from runtime import state
from runtime.options import Option
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb(
    "events",
    "Print what a container uses, now and then, and each time it runs out of memory.",
    "ID",
    1,
    1,
    (
        Option(("--stats",), "Print it once and end", kind="flag"),
        Option(("--interval",), "Time between two looks (5s)", "SECONDS", "interval"),
    ),
)


def _say(kind: str, id_: str, data: object = None) -> None:
    from lxcfs_py import json_text

    record = {"type": kind, "id": id_, **({} if data is None else {"data": data})}
    sys.stdout.write(json_text.dumps(record).decode() + "\n")
    sys.stdout.flush()


def run(args: Sequence[str]) -> int:
    """Print until the container ends, or once."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from lxcfs_py.cgroup import control
    from runtime import places
    from runtime.lifecycle import stats

    root = parsed["root"]
    found = state.load(root, state.find(root, parsed.rest[0]))
    there = places.layout(found.cgroup)
    if state.status(root, found) == state.STOPPED:
        raise Error(f"container not running: {found.id!r}", "what has ended uses nothing")
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

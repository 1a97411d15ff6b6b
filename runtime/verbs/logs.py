"""``pyproc logs``: what a detached container has written."""

from __future__ import annotations

import errno
import os
import time

from runtime import units
from runtime.command_line import Option
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.lifecycle.log import Log
    from runtime.state import State

VERB = Verb(
    "logs",
    "Print what a detached container has written.",
    "ID",
    1,
    1,
    (
        Option(("-f", "--follow"), "Go on as it writes, until it ends", kind="flag"),
        Option(("--since",), "Only what was written since then, or in the last of 10m", "TIME"),
        Option(("--until",), "Only what was written until then, or before the last 10m", "TIME"),
        Option(("-n", "--tail"), "Only the last lines", "N|all", "lines"),
        Option(("-t", "--timestamps"), "When each line was begun, before it", kind="flag"),
        JSON,
    ),
)
LOOK_SECONDS = 1.0
"""A log that is followed is looked at again even if nobody says it has grown."""


def _copy(log: Log, how: str) -> None:
    """Write out what is in the log from where it was read last."""
    while data := log.read(how):
        while data:
            data = data[os.write(1, data) :]


def _follow(log: Log, found: State, how: str, until: int | None) -> None:
    import select

    from runtime.kernel import inotify
    from runtime.lifecycle import ending, hold

    watch, last = inotify.Watch(), hold.lifeline(found)  # it writes what was left when all has ended
    log.watch(watch)
    last = last if last >= 0 else ending.opened(found)
    while True:
        ended = last < 0 or bool(select.select([last], [], [], 0)[0])
        left = LOOK_SECONDS if until is None else (until - time.time_ns()) / 1e9
        if until is not None:
            log.until(until)
        _copy(log, how)
        if ended or left < 0:
            return
        select.select([watch.descriptor, last], [], [], min(LOOK_SECONDS, left + 0.01))
        watch.drain()


def run(parsed: Parsed) -> int:
    """Print the log; with --follow until the container has ended or our reader has left."""
    from runtime.lifecycle import log as logs

    found = finding.get(parsed, parsed.rest[0])
    now = time.time_ns()
    since, until = (
        units.moment(parsed[name], f"--{name}", now) if parsed[name] else None for name in ("since", "until")
    )
    how = logs.JSON if parsed["json"] else logs.TIMES if parsed["timestamps"] else logs.PLAIN
    log = logs.Log(found)
    try:
        if until is not None:
            log.until(until)
        if since is not None:
            log.since(since)
        if parsed["tail"] is not None and parsed["tail"] >= 0:
            log.tail(parsed["tail"])
        if parsed["follow"]:
            _follow(log, found, how, until)
        else:
            _copy(log, how)
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
    finally:
        log.close()
    return 0

"""``pyproc logs``: what a detached container has written."""

from __future__ import annotations

import errno
import os

from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import finding
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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
        Option(("-n", "--tail"), "Only the last lines", "N", "count"),
        Option(("-t", "--timestamps"), "When each line was begun, before it", kind="flag"),
    ),
)
LOOK_SECONDS = 1.0
"""A log that is followed is looked at again even if nobody says it has grown."""


def moment(text: str, now_nsec: int) -> int:
    """Return nanoseconds since 1970 of ``10m`` ago, of such a number of seconds, or of an RFC 3339 date."""
    from datetime import datetime

    from runtime import units

    try:
        if text.replace(".", "", 1).isdigit():
            return int(float(text) * 1e9)
        if text[:4].isdigit() and text[4:5] == "-":
            return int(datetime.fromisoformat(text).timestamp() * 1e9)
        return now_nsec - int(units.interval(text, "--since") * 1e9)
    except (ValueError, RunError):
        raise RunError(
            f"--since {text!r}: not a time", "write 10m, 2026-01-31T12:00:00Z or seconds since 1970"
        ) from None


def _copy(log: Log, *, timestamps: bool) -> None:
    """Write out what is in the log from where it was read last."""
    while data := log.read(timestamps=timestamps):
        while data:
            data = data[os.write(1, data) :]


def _follow(log: Log, found: State, *, timestamps: bool) -> None:
    import select

    from runtime.kernel import inotify
    from runtime.lifecycle import ending, hold

    watch, last = inotify.Watch(), hold.lifeline(found)  # it writes what was left when all has ended
    log.watch(watch)
    last = last if last >= 0 else ending.opened(found)
    while True:
        ended = last < 0 or bool(select.select([last], [], [], 0)[0])
        _copy(log, timestamps=timestamps)
        if ended:
            return
        select.select([watch.descriptor, last], [], [], LOOK_SECONDS)
        watch.drain()


def run(args: Sequence[str]) -> int:
    """Print the log; with --follow until the container has ended or our reader has left."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    import time

    from runtime.lifecycle.log import Log

    found = finding.get(parsed, parsed.rest[0])
    since = moment(parsed["since"], time.time_ns()) if parsed["since"] else None
    log = Log(found)
    try:
        if since is not None:
            log.since(since)
        if parsed["tail"] is not None:
            log.tail(parsed["tail"])
        if parsed["follow"]:
            _follow(log, found, timestamps=parsed["timestamps"])
        else:
            _copy(log, timestamps=parsed["timestamps"])
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
    finally:
        log.close()
    return 0

"""``pyproc logs``: what a detached container has written."""

from __future__ import annotations

import errno
import os
import time

from lxcfs_py.errors import Error, reason
from runtime import state
from runtime.options import Option
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb(
    "logs",
    "Print what a detached container has written.",
    "ID",
    1,
    1,
    (Option(("-f", "--follow"), "Go on as it writes, until it ends", kind="flag"),),
)
CHUNK = 1 << 16
PAUSE_SECONDS = 0.1
"""Between two looks at a log that is followed."""


def _copy(log: int) -> None:
    """Write out what is in the log from where it was read last."""
    while data := os.read(log, CHUNK):
        while data:
            data = data[os.write(1, data) :]


def _open(found: state.State) -> int:
    path = f"{found.storage}/log"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        hint = "only containers started with -d have one; the others wrote to their caller"
        raise Error(f"container {found.id!r} has no log", hint) from None
    except OSError as error:
        raise Error(reason(error), "run it as root") from error


def run(args: Sequence[str]) -> int:
    """Print the log; with --follow until the container has ended or our reader has left."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    root = parsed["root"]
    found = state.load(root, state.find(root, parsed.rest[0]))
    log = _open(found)
    try:
        while True:
            ended = not parsed["follow"] or state.status(root, found) == state.STOPPED
            _copy(log)  # after the look at the status, so that nothing written before the end is missed
            if ended:
                return 0
            time.sleep(PAUSE_SECONDS)
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        return 0
    finally:
        os.close(log)

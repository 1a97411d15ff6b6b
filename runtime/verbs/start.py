"""``pyproc start``: let the command of a created container begin."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import state
from runtime.lifecycle import oci
from runtime.process import seccomp
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb("start", "Let the command of a created container begin.", "ID", 1, 1)
WHY = {
    state.RUNNING: ("it has been started", "pyproc exec runs a further command in it"),
    state.STOPPED: ("it is stopped", "delete it and create it anew"),
    oci.PAUSED: ("it is paused", "resume it first"),
    state.CREATING: ("it is being created", "wait for create to end"),
}


def run(args: Sequence[str]) -> int:
    """Start it."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime.lifecycle import start

    root = parsed["root"]
    id_ = state.find(root, parsed.rest[0])
    held = state.lock(root, id_)
    try:
        found = state.load(root, id_)
        now = oci.status(root, found, locked=True)
        if now != state.CREATED:
            what, hint = WHY[now]
            raise Error(f"container {id_!r} can't be started: {what}", hint)
        config = state.config(found)
        filter_ = seccomp.of(config, id_, found.bundle, kept=f"{parsed['storage']}/filters")
        start.begin(found, held, filter_, config.get("hooks", {}))
    finally:
        os.close(held)
    return 0

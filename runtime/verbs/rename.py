"""``pyproc rename``: call a container by another name."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import claims, places, state, units
from runtime.errors import RunError
from runtime.lifecycle import again, cleanup, finding
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb("rename", "Call a container by another name.", "ID NAME", 2, 2)


def rename(parsed: Parsed, old: str, new: str) -> None:
    """Do it; raises an Error if the name is taken. Killed midway, it has one of both names."""
    if not units.is_name(new):
        raise RunError(f"{new!r}: not a name", units.NAME_HINT)
    with finding.Locked(parsed, old) as held:
        root, old = held.root, held.id
        found = held.load()
        if state.RESTART in found.annotations:
            raise Error(f"container {old!r} can't be renamed: systemd starts it again by that name", "make it anew")
        if not found.storage:
            raise Error(f"container {old!r} is an engine's, which knows it by that name", "rename it there")
        other = f"{os.path.dirname(found.storage)}/{new}"
        if os.path.exists(other) and not os.path.islink(other):  # of one whose state went with the last boot
            raise claims.taken(root, new)
        now = state.status(root, found, locked=True)
        if now not in (state.RUNNING, state.STOPPED):
            raise Error(f"container {old!r} can't be renamed: it is {now}", "try again when it runs")
        if now == state.STOPPED:
            found = cleanup.ended(found, places.layout(found.cgroup))
        claims.rename(root, found.id, new)  # from now on it has the new name: whoever reads its state sees that
        found = again.renamed(found.renamed(new))
        if now == state.STOPPED:  # else what bears its former name, as its cgroup, goes on bearing it until it ends
            cleanup.ended(found, places.layout(found.cgroup))


def run(parsed: Parsed) -> int:
    """Rename it."""
    rename(parsed, *parsed.rest)
    return 0

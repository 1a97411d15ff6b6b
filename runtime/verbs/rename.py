"""``pyproc rename``: call a container by another name."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import claims, places, state, units
from runtime.errors import RunError
from runtime.kernel.removal import remove_tree
from runtime.lifecycle import again, cleanup, ending, finding, hold, outcome
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.command_line import Parsed

VERB = Verb("rename", "Call a container by another name.", "ID NAME", 2, 2)


def rename(parsed: Parsed, old: str, new: str) -> None:
    """Do it; raises an Error if the name is taken. Killed midway, one of both names has all of it."""
    if not units.is_name(new):
        raise RunError(f"{new!r}: not a name", units.NAME_HINT)
    with finding.Locked(parsed, old) as held:
        root, old = held.root, held.id
        found = held.load()
        if state.RESTART in found.annotations:
            raise Error(f"container {old!r} can't be renamed: systemd starts it again by that name", "make it anew")
        if not found.storage:
            raise Error(f"container {old!r} is an engine's, which knows it by that name", "rename it there")
        if os.path.exists(f"{os.path.dirname(found.storage)}/{new}"):  # of one whose state went with the last boot
            raise claims.taken(root, new)
        if (now := state.status(root, found, locked=True)) != state.STOPPED:
            if now != state.RUNNING:
                raise Error(f"container {old!r} can't be renamed: it is {now}", "try again when it runs")
            _alive(root, found, new)
            return
        found = found.replace(exit_code=_code(root, found))
        cleanup.ended(found, places.layout(found.cgroup))
        config, claimed = state.config(found), claims.claim(root, new)
        try:
            _move(found, config, f"{root}/{new}", new)
        finally:
            os.close(claimed)


def _alive(root: str, found: state.State, new: str) -> None:
    """Rename one that runs: what bears its former name, as its cgroup, goes on bearing it until it ends.

    From the first change on it has the new name: whoever reads the state, as it is then, sees that.
    """
    claims.rename(root, found.id, new)
    at = os.path.dirname(found.storage)
    if os.path.islink(f"{at}/{new}"):  # a former name of one that ran before the last boot
        os.unlink(f"{at}/{new}")
    claims.rename(at, found.id, new)
    changed = found.renamed(new).replace(storage=f"{at}/{new}")
    config = state.config(changed)
    state.write(f"{changed.directory}/config.json", _named(config, new))
    state.save(changed)
    again.renew(changed)


def _named(config: dict[str, Any], new: str) -> dict[str, Any]:
    """Return a configuration whose cgroup, of the next start, is called as the container is."""
    named = {"cgroupsPath": f"/pyproc/{new}"} if config["linux"].get("cgroupsPath") else {}
    return {**config, "linux": {**config["linux"], **named}}


def _code(root: str, found: state.State) -> int | None:
    """Return how it ended; a holder that has yet to say so would say it of the old name."""
    if not hold.pid(found):
        return outcome.of(found).exit_code
    teller = ending.Teller(found)
    try:
        return ending.told(root, found, teller).exit_code
    finally:
        teller.close()


def _move(found: state.State, config: dict[str, Any], directory: str, new: str) -> None:
    storage = f"{os.path.dirname(found.storage)}/{new}"
    changed = found.replace(
        id=new,
        directory=directory,
        bundle=directory,
        storage=storage,
        cgroup="",
        unit="",
        pid=0,
        began_as="",
    )
    state.write(f"{directory}/config.json", _named(config, new))
    state.save(changed)
    os.rename(found.storage, storage)
    again.renew(changed)
    claims.settle(directory)
    remove_tree(found.directory)


def run(parsed: Parsed) -> int:
    """Rename it."""
    rename(parsed, *parsed.rest)
    return 0

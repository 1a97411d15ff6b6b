"""``pyproc start``: let the command of a created container begin, or that of an ended one of ours begin again."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import listed, options, state
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import finding, oci
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.state import State

VERB = Verb(
    "start",
    "Let the command of a created container begin, or that of an ended one begin again.",
    "ID...",
    1,
    None,
    (
        Option(("-a", "--attach"), "Stay with it: its streams are ours, its exit code too", kind="flag"),
        options.INTERACTIVE,
        options.JSON,
    ),
)
WHY = {
    state.RUNNING: ("it has been started", "pyproc exec runs a further command in it"),
    oci.PAUSED: ("it is paused", "resume it first"),
    state.CREATING: ("it is being created", "wait for create to end"),
}


def start(parsed: Parsed, text: str, *, attach: bool = False, interactive: bool = False) -> int:
    """Start one; return the exit code, 0 if we don't stay with it."""
    with finding.Locked(parsed, text) as held:
        found = held.load()
        now = oci.status(held.root, found, locked=True)
        if now == state.STOPPED:
            return _ended(found, held, attach=attach, interactive=interactive, as_json=parsed["json"])
        if now != state.CREATED:
            what, hint = WHY[now]
            raise Error(f"container {held.id!r} can't be started: {what}", hint)
        from runtime.lifecycle import start

        config, filter_ = state.config(found), None
        if config["linux"].get("seccomp") is not None:
            from runtime.process import seccomp

            filter_ = seccomp.of(config, held.id, found.bundle, kept=f"{parsed['storage']}/filters")
        start.begin(found, held.lock, filter_, config.get("hooks", {}))
    return 0


def _ended(found: State, held: finding.Locked, *, attach: bool, interactive: bool, as_json: bool) -> int:
    """Start one that has ended."""
    from runtime.config import joined
    from runtime.lifecycle import again, outcome, run, service

    if not attach and (unit := service.managed(found)):
        held.let_go()
        service.start(found, unit)
        os.write(1, listed.said(found.id, as_json=as_json).encode())
        return 0
    request = joined.renewed(again.kept(found))
    request = request.replace(detach=not attach, interactive=interactive if attach else request.interactive)
    lock = held.hand_over() if attach else held.lock  # who stays with it lets go of it meanwhile
    return run.run(request, again.Before(lock, found.replace(exit_code=outcome.of(found).exit_code)), as_json=as_json)


def run(parsed: Parsed) -> int:
    """Start each."""
    attach, interactive = parsed["attach"] or parsed["interactive"], parsed["interactive"]
    if attach and len(parsed.rest) > 1:
        raise RunError("-a: there are several containers", "name one, or leave out -a")
    for text in parsed.rest:
        if code := start(parsed, text, attach=attach, interactive=interactive):
            return code
    return 0

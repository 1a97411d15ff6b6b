"""``pyproc start``: let the command of a created container begin, or that of an ended one of ours begin again."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import options, state
from runtime.errors import RunError
from runtime.lifecycle import oci
from runtime.options import Option
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.options import Parsed
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
    ),
)
WHY = {
    state.RUNNING: ("it has been started", "pyproc exec runs a further command in it"),
    oci.PAUSED: ("it is paused", "resume it first"),
    state.CREATING: ("it is being created", "wait for create to end"),
}


def start(parsed: Parsed, text: str, *, attach: bool = False, interactive: bool = False) -> int:
    """Start one; return the exit code, 0 if we don't stay with it."""
    root = parsed["root"]
    try:
        id_ = state.find(root, text)
    except state.MissingError:  # gone with the last boot
        from runtime.lifecycle import again

        again.revive(root, parsed["storage"])
        id_ = state.find(root, text)
    held = state.lock(root, id_)
    found = state.load(root, id_)
    now = oci.status(root, found, locked=True)
    if now == state.STOPPED:
        return _ended(found, held, attach=attach, interactive=interactive)
    try:
        if now != state.CREATED:
            what, hint = WHY[now]
            raise Error(f"container {id_!r} can't be started: {what}", hint)
        from runtime.lifecycle import start

        config, filter_ = state.config(found), None
        if config["linux"].get("seccomp") is not None:
            from runtime.process import seccomp

            filter_ = seccomp.of(config, id_, found.bundle, kept=f"{parsed['storage']}/filters")
        start.begin(found, held, filter_, config.get("hooks", {}))
    finally:
        os.close(held)
    return 0


def _ended(found: State, held: int, *, attach: bool, interactive: bool) -> int:
    """Start one that has ended, and let go of its lock."""
    from runtime.lifecycle import service

    if attach:  # who stays with it lets go of the lock meanwhile
        return _again(found, held, attach=True, interactive=interactive)
    if unit := service.managed(found):
        os.close(held)
        service.start(found, unit)
        os.write(1, f"{found.id}\n".encode())
        return 0
    try:
        return _again(found, held, attach=False, interactive=interactive)
    finally:
        _let_go(held)


def _let_go(held: int) -> None:
    try:
        os.close(held)
    except OSError:  # a child that is to hold the container, and could not start it, has done so
        return


def _again(found: State, held: int, *, attach: bool, interactive: bool) -> int:
    from runtime.lifecycle import again, outcome, run

    request = again.kept(found)
    request = request.replace(detach=not attach, interactive=interactive if attach else request.interactive)
    return run.run(request, again.Before(held, found.replace(exit_code=outcome.of(found).exit_code)))


def run(args: Sequence[str]) -> int:
    """Start each."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    attach, interactive = parsed["attach"] or parsed["interactive"], parsed["interactive"]
    if attach and len(parsed.rest) > 1:
        raise RunError("-a: there are several containers", "name one, or leave out -a")
    for text in parsed.rest:
        if code := start(parsed, text, attach=attach, interactive=interactive):
            return code
    return 0

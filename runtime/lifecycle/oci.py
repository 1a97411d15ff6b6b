"""A container's state as the OCI runtime specification words it (runtime.md, "State")."""

from __future__ import annotations

import time

from runtime import state as states
from runtime.lifecycle import outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.state import State

PAUSED = "paused"


def timestamp(nsec: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 text, in UTC."""
    seconds, rest = divmod(nsec, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def state(found: State, status: str) -> dict[str, Any]:
    """Return what the specification wants of a state; ``pid`` is 0 unless its first process lives."""
    return {
        "ociVersion": states.OCI_VERSION,
        "id": found.id,
        "status": status,
        "pid": 0 if status == states.STOPPED else found.pid,
        "bundle": found.bundle,
        "annotations": dict(found.annotations),
    }


def describe(root: str, found: State) -> dict[str, Any]:
    """Return the state's JSON.

    Beyond the specification: ``created``, ``command``, ``storage``, ``exitCode`` where it is known, and the status
    ``paused``.
    """
    now = status(root, found)
    code = outcome.of(found).exit_code if now == states.STOPPED else None
    known = {} if code is None else {"exitCode": code}
    return {
        **state(found, now),
        "created": timestamp(found.created_nsec),
        "command": list(found.command),
        "storage": found.storage,
        **known,
    }


def status(root: str, found: State, *, locked: bool = False) -> str:
    """Return what it is now; one whose cgroup is frozen is paused. ``locked`` is as for ``state.status``."""
    now = states.status(root, found, locked=locked)
    if now not in (states.CREATED, states.RUNNING):
        return now
    from lxcfs_py.cgroup import control
    from runtime import places

    return PAUSED if control.frozen(places.layout(found.cgroup), found.cgroup) else now

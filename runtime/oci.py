"""A container's state as the OCI runtime specification words it (runtime.md, "State")."""

from __future__ import annotations

import time

from runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.state import State


def timestamp(nsec: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 text, in UTC."""
    seconds, rest = divmod(nsec, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


def describe(root: str, found: State) -> dict[str, Any]:
    """Return the state's JSON; ``pid`` is 0 unless its first process lives.

    Beyond the specification: ``created``, ``command``, ``storage``, and ``exitCode`` where it is known.
    """
    status = state.status(root, found)
    known = {} if found.exit_code is None else {"exitCode": found.exit_code}
    return {
        "ociVersion": state.OCI_VERSION,
        "id": found.id,
        "status": status,
        "pid": found.pid if status in (state.CREATED, state.RUNNING) else 0,
        "bundle": found.bundle,
        "annotations": {},
        "created": timestamp(found.created_nsec),
        "command": list(found.command),
        "storage": found.storage,
        **known,
    }

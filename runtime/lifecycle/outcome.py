"""How a container has ended, as its holder, or who has looked after it, has written down."""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.state import State


class Outcome(Record):
    """How a container has ended, as far as it is known."""

    exit_code: int | None = None
    finished_nsec: int = 0


def of(found: State) -> Outcome:
    """Return what its holder, or who has looked after it, has written down."""
    path, code = f"{found.directory}/state.json", found.exit_code
    if code is None:
        path = f"{found.directory}/{state.EXIT}"
        try:
            with open(path, "rb") as file:
                from runtime.kernel import holder

                code = holder.exit_code(file.read(8))
        except OSError:
            pass
    if code is None:
        return Outcome()
    try:
        return Outcome(code, os.stat(path).st_mtime_ns)
    except OSError:  # it is being removed
        return Outcome(code)

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
    try:
        if found.exit_code is not None:
            return Outcome(found.exit_code, os.stat(f"{found.directory}/state.json").st_mtime_ns)
        with open(f"{found.directory}/{state.EXIT}", "rb") as file:
            return written(file.fileno())
    except OSError:  # nobody has, or it is being removed
        return Outcome(found.exit_code)


def written(file: int) -> Outcome:
    """Return what a holder has written into its file; -1 is none."""
    if file < 0:
        return Outcome()
    from runtime.kernel import holder

    code = holder.exit_code(os.pread(file, 8, 0))
    return Outcome() if code is None else Outcome(code, os.fstat(file).st_mtime_ns)

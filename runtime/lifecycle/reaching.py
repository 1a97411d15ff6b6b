"""Waits until a container is in some status."""

from __future__ import annotations

import select

from lxcfs_py.errors import Error
from runtime import state
from runtime.kernel import inotify
from runtime.lifecycle import oci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.state import State

REMOVED = "removed"
"""What is no status, but can be waited for."""
LOOK_SECONDS = 0.5
"""How long a pause may go unseen: no file of ours changes."""


def reach(root: str, found: State, wanted: str) -> None:
    """Wait until it is so; raises an Error if it is removed before."""
    watch = inotify.Watch()
    watch.add(root, inotify.DELETE | inotify.MOVED_TO)
    while True:
        try:
            watch.add(found.directory, inotify.MOVED_TO | inotify.MODIFY)
            now = oci.status(root, state.load(root, found.id))
        except (state.MissingError, FileNotFoundError):
            if wanted == REMOVED:
                return
            raise Error(f"container {found.id!r} was removed before it was {wanted}", "wait for another") from None
        if now == wanted:
            return
        select.select([watch.descriptor], [], [], LOOK_SECONDS)
        watch.drain()

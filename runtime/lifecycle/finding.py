"""Finds the container a verb is about: by its id, or what is enough of it, also when its state went with the boot."""

from __future__ import annotations

import os

from runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from runtime.command_line import Parsed
    from runtime.state import State


def find(parsed: Parsed, text: str) -> str:
    """Return its id; raises an Error if there is none, or several."""
    try:
        return state.find(parsed["root"], text)
    except state.MissingError:
        from runtime.lifecycle import again

        again.revive(parsed["root"], parsed["storage"])
    return state.find(parsed["root"], text)


def get(parsed: Parsed, text: str) -> State:
    """Return its state."""
    return state.load(parsed["root"], find(parsed, text))


def whole(found: State) -> State:
    """Return a container, whose lock is held; if its renaming was cut off, it ends here."""
    if not found.storage or os.path.basename(found.storage) == found.id:
        return found
    from runtime.lifecycle import again

    return again.renamed(found)


class Locked:
    """A container that nobody else starts, renames or removes while this is entered, or until it is let go."""

    def __init__(self, parsed: Parsed, text: str) -> None:
        self.root, self.id = parsed["root"], find(parsed, text)
        self.lock = state.lock(self.root, self.id)

    def load(self) -> State:
        """Return its state."""
        return whole(state.load(self.root, self.id))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.let_go()

    def hand_over(self) -> int:
        """Return the lock, which is somebody else's to let go of from now on."""
        lock, self.lock = self.lock, -1
        return lock

    def let_go(self) -> None:
        """Unlock it; a child that was to hold the container, and could not start it, has done so."""
        lock = self.hand_over()
        try:
            os.close(lock)
        except OSError:
            return

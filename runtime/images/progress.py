"""One line on a terminal that says how far a long job is; silent where nobody watches."""

from __future__ import annotations

import os
import time

PAUSE_SECONDS = 0.1
UNITS = ("B", "kB", "MB", "GB", "TB")
WIDTH = 30


def size(count: float) -> str:
    """Return bytes as people read them, as Docker does: ``1.24 MB``."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {UNITS[unit]}"


def line(label: str, done: int, whole: int) -> str:
    """Return the line: label, bar and figures; without a bar where the whole isn't known."""
    if not whole:
        return f"{label} {size(done)}"
    filled = min(WIDTH, done * WIDTH // whole)
    return f"{label} [{'=' * filled}{' ' * (WIDTH - filled)}] {size(done)} of {size(whole)}"


class Progress:
    """A job in parts; ``descriptor`` is where the line goes if that is a terminal."""

    def __init__(self, descriptor: int = 2, *, quiet: bool = False) -> None:
        self._out = descriptor if not quiet and os.isatty(descriptor) else -1
        self._label, self._done, self._whole, self._last = "", 0, 0, 0.0
        self._drawn = False

    def begin(self, label: str, whole_bytes: int = 0) -> None:
        """Begin a part."""
        self._label, self._done, self._whole = label, 0, whole_bytes

    def whole(self, whole_bytes: int) -> None:
        """Say how large the part is."""
        self._done, self._whole = 0, whole_bytes

    def at(self, done_bytes: int) -> None:
        """Say how far it is."""
        self._done = done_bytes
        if self._out >= 0 and (now := time.monotonic()) - self._last >= PAUSE_SECONDS:
            self._last, self._drawn = now, True
            os.write(self._out, f"\r{line(self._label, self._done, self._whole)}\033[K".encode())

    def end(self) -> None:
        """Clear the line."""
        if self._drawn:
            os.write(self._out, b"\r\033[K")
            self._drawn = False

"""The log: one line per container, file and cause a minute, with a count of what was left out."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_SECONDS = 60.0
MOST = 4096
"""How many different lines are counted; beyond that the oldest are forgotten."""


class Limiter:
    """Decides which lines are written; pure but for the clock it is handed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}

    def line(self, text: str, pid: int = 0) -> str:
        """Return the line to write, "" for none. ``pid`` is whose read it was (0: nobody's); another's is no news."""
        now = self._clock()
        since, left_out = self._seen.get(text, (-EVERY_SECONDS, 0))
        if now - since < EVERY_SECONDS:
            self._seen[text] = since, left_out + 1
            return ""
        self._seen.pop(text, None)
        while len(self._seen) >= MOST:
            self._seen.pop(next(iter(self._seen)))
        self._seen[text] = now, 0
        more = f" ({left_out} times more since the last such line)" if left_out else ""
        return text + (f" (pid {pid})" if pid else "") + more


def pack(text: str, pid: int) -> bytes:
    """Return what a worker sends for ``Limiter.line``."""
    return f"{pid} {text[:2000]}".encode("utf-8", "replace")


def unpack(message: bytes) -> tuple[str, int]:
    """Return the arguments of ``Limiter.line``."""
    pid, _, text = message.partition(b" ")
    return text.decode("utf-8", "replace"), int(pid)


def write(text: str) -> None:
    """Write a line to stderr; a reader that has left is nobody's trouble."""
    try:
        sys.stderr.write(f"lxcfs-py: {text}\n")
        sys.stderr.flush()
    except OSError:
        return


def cause(error: Exception) -> str:
    """Return what an exception says, in one line."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")

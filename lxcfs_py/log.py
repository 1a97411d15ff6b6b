"""The log: one line per container, file and cause a minute, with a count of what was left out; text, or JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_SECONDS = 60.0
MOST = 4096
"""How many different lines are counted; beyond that the oldest are forgotten."""
MOST_BYTES = 4096
"""Of what a worker sends."""


class Line(Record):
    """One line: what happened, and where it is known, to whom and with which file."""

    text: str
    container: str = ""
    subject: str = ""
    """The file, or what else it is about."""
    pid: int = 0
    """Whose read it was, 0 for nobody's."""
    detail: bool = False
    """Written with ``--verbose`` only."""
    left_out: int = 0
    """How many of the same were not written before it."""

    def __str__(self) -> str:
        about = f"{self.container or '-'} {self.subject}: " if self.subject else ""
        pid = f" (pid {self.pid})" if self.pid else ""
        more = f" ({self.left_out} times more since the last such line)" if self.left_out else ""
        return f"{about}{self.text}{pid}{more}"

    def as_json(self, when: datetime) -> str:
        """Return it as an object; fields that say nothing are left out."""
        fields = {"message": self.text, "container": self.container, "subject": self.subject, "pid": self.pid}
        fields["left_out"] = self.left_out
        found = {"time": when.isoformat(timespec="milliseconds"), **{name: v for name, v in fields.items() if v}}
        return json.dumps(found)


class _Settings:
    """How this process writes, and how much it has."""

    as_json = verbose = False
    written = left_out = 0


_settings = _Settings()


class Limiter:
    """Decides which lines are written, by the clock it is handed, and counts what was left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._seen: dict[Line, tuple[float, int]] = {}

    def line(self, line: Line) -> Line | None:
        """Return the line to write, None for none. Another pid is no news."""
        with self._lock:
            return self._line(line)

    def _line(self, line: Line) -> Line | None:
        now, same = self._clock(), line.replace(pid=0)
        since, left_out = self._seen.get(same, (-EVERY_SECONDS, 0))
        if now - since < EVERY_SECONDS:
            self._seen[same] = since, left_out + 1
            _settings.left_out += 1
            return None
        self._seen.pop(same, None)
        while len(self._seen) >= MOST:
            self._seen.pop(next(iter(self._seen)))
        self._seen[same] = now, 0
        return line.replace(left_out=left_out)

    def write(self, what: str | Line) -> None:
        """Write a line, unless it was just written."""
        if line := self.line(Line(what) if isinstance(what, str) else what):
            write(line)


def pack(line: Line) -> bytes:
    """Return what a worker sends."""
    about = f"{line.pid}\0{line.detail:d}\0{line.container[:500]}\0{line.subject[:500]}\0"
    return f"{about}{line.text[:2000]}".encode("utf-8", "replace")[:MOST_BYTES]


def unpack(message: bytes) -> Line:
    """Return what a worker has sent."""
    pid, detail, container, subject, text = message.decode("utf-8", "replace").split("\0", 4)
    return Line(text, container, subject, int(pid), detail == "1")


def configure(*, as_json: bool, verbose: bool) -> None:
    """Say how ``write`` writes from now on, in this process."""
    _settings.as_json, _settings.verbose = as_json, verbose


def counts() -> tuple[int, int]:
    """Return how many lines this process has written, and how many its limiters left out."""
    return _settings.written, _settings.left_out


def write(what: str | Line) -> None:
    """Write a line to stderr; a reader that has left is nobody's trouble."""
    line = Line(what) if isinstance(what, str) else what
    if line.detail and not _settings.verbose:
        return
    _settings.written += 1
    try:
        sys.stderr.write(f"{line.as_json(datetime.now(UTC))}\n" if _settings.as_json else f"lxcfs-py: {line}\n")
        sys.stderr.flush()
    except OSError:
        return


def cause(error: Exception) -> str:
    """Return what an exception says, in one line."""
    return f"{type(error).__name__}: {error}".replace("\n", " ")

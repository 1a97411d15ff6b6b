"""What a detached container has written, and when: its holder's log and notes (``kernel.holder``)."""

from __future__ import annotations

import bisect
import os
from _struct import iter_unpack

from lxcfs_py.errors import Error, reason
from runtime.kernel import holder
from runtime.lifecycle import oci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.state import State

CHUNK = 1 << 16


class Log:
    """A container's log; ``at`` is where reading goes on."""

    def __init__(self, found: State) -> None:
        self.path = f"{found.storage}/log"
        try:
            self.file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            hint = "only containers started with -d have one; the others wrote to their caller"
            raise Error(f"container {found.id!r} has no log", hint) from None
        except OSError as error:
            raise Error(reason(error), "run it as root") from error
        self.at = 0
        self.times: list[int] = []
        """The time of each piece, in nanoseconds since 1970."""
        self.offsets: list[int] = []
        """Where each begins."""

    def close(self) -> None:
        """Close it."""
        os.close(self.file)

    def look(self) -> None:
        """Read the notes."""
        try:
            with open(f"{self.path}.times", "rb") as file:
                data = file.read()
        except OSError as error:
            raise Error(reason(error), "without it the log has no times: leave out --since and -t") from error
        whole = data[: len(data) // holder.TIME_BYTES * holder.TIME_BYTES]
        notes = list(iter_unpack(holder.TIME, whole))
        self.times = [seconds * 1_000_000_000 + nsec for seconds, nsec, _ in notes]
        self.offsets = [offset for _, _, offset in notes]

    def when(self, offset: int) -> int:
        """Return when the byte at an offset was written."""
        if not self.offsets or offset >= self.offsets[-1]:
            self.look()  # the last piece may be the last no more
        found = bisect.bisect_right(self.offsets, offset) - 1
        return self.times[found] if found >= 0 else 0

    def since(self, nsec: int) -> None:
        """Go on with the first line that was begun at a time or later."""
        self.look()
        found = bisect.bisect_left(self.times, nsec)
        self.at = self.offsets[found] if found < len(self.offsets) else os.fstat(self.file).st_size
        if self.at and os.pread(self.file, 1, self.at - 1) != b"\n":
            while data := os.pread(self.file, CHUNK, self.at):
                end = data.find(b"\n") + 1
                self.at += end or len(data)
                if end:
                    return

    def tail(self, lines: int) -> None:
        """Go on with the last lines, where that is further on than now."""
        end = os.fstat(self.file).st_size
        wanted = lines + 1 if end and os.pread(self.file, 1, end - 1) == b"\n" else lines
        while end > self.at:
            begin = max(self.at, end - CHUNK)
            data = os.pread(self.file, end - begin, begin)
            while (place := data.rfind(b"\n")) >= 0:
                wanted -= 1
                if wanted <= 0:
                    self.at = begin + place + 1
                    return
                data = data[:place]
            end = begin

    def read(self, *, timestamps: bool) -> bytes:
        """Return the next piece, with the time before each line if asked; b"" if there is none (yet)."""
        data = os.pread(self.file, CHUNK, self.at)
        if not timestamps:
            self.at += len(data)
            return data
        found = []
        for line in _lines(data):
            if not self.at or os.pread(self.file, 1, self.at - 1) == b"\n":
                found.append(f"{oci.timestamp(self.when(self.at))} ".encode())
            found.append(line)
            self.at += len(line)
        return b"".join(found)


def _lines(data: bytes) -> list[bytes]:
    """Return lines that only a newline ends."""
    *whole, last = data.split(b"\n")
    return [*(line + b"\n" for line in whole), *([last] if last else [])]

"""What a detached container has written, and when: its holder's log and notes (``kernel.holder``)."""

from __future__ import annotations

import bisect
import os
import time
from _struct import unpack_from

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from runtime.kernel import holder, inotify
from runtime.lifecycle import oci

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.state import State

CHUNK = 1 << 16
PLAIN, TIMES, JSON = "plain", "times", "json"
"""How a log is read: as it was written, with the time before each line, or JSON lines with json-file's keys."""
TRIES, TRY_SECONDS = 100, 0.01
NOW = 1 << 30
"""More nanoseconds than a second has, and fewer seconds than have passed since 1970."""


class Part:
    """A file of the log, and the notes of its times. ``begin`` is where it is in the whole."""

    def __init__(self, path: str) -> None:
        self.begin = 0
        self.times: list[int] = []
        """The time of each piece, in nanoseconds since 1970."""
        self.offsets: list[int] = []
        """Where each begins in the file."""
        self.noted = 0
        """The bytes of the notes that have been read."""
        while True:
            self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.notes = os.open(f"{path}.times", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self.notes = -1
            try:
                if os.path.samestat(
                    os.fstat(self.file), os.stat(path)
                ):  # so were the notes its own (``hold.rotate``)
                    return
            except FileNotFoundError:
                pass
            self.close()

    def close(self) -> None:
        """Close it."""
        for descriptor in (self.file, self.notes):
            if descriptor >= 0:
                os.close(descriptor)

    def size(self) -> int:
        """Return its bytes, up to now."""
        return os.fstat(self.file).st_size

    def look(self) -> None:
        """Read the notes that are new; of one that was cut by a full disk, which others follow, nothing is made."""
        if self.notes < 0:
            raise Error("the log has no notes of its times", "leave out --since and -t")
        data = os.pread(self.notes, max(0, os.fstat(self.notes).st_size - self.noted), self.noted)
        size, at = self.size(), 0
        while at + holder.TIME_BYTES <= len(data):
            seconds, nsec, offset = unpack_from(holder.TIME, data, at)
            if nsec < NOW <= seconds and offset <= size:
                self.times.append(seconds * 1_000_000_000 + nsec)
                self.offsets.append(offset)
                at += holder.TIME_BYTES
            else:
                at += 8  # files end between words
        self.noted += at

    def when(self, offset: int) -> int:
        """Return when the byte at an offset was written."""
        if not self.offsets or offset >= self.offsets[-1]:
            self.look()  # the last piece may be the last no more
        found = bisect.bisect_right(self.offsets, offset) - 1
        return self.times[found] if found >= 0 else 0


class Log:
    """A container's log, all its files as one; ``at`` is where reading goes on."""

    def __init__(self, found: State) -> None:
        self.path = f"{found.storage}/log"
        self.at = 0
        self.end: int | None = None
        """Where reading ends, None: nowhere."""
        self.parts: list[Part] = []
        for _ in range(TRIES):
            if self.grow() or not os.path.exists(f"{self.path}.1"):
                break
            time.sleep(TRY_SECONDS)  # a new one is being begun
        if not self.parts:
            hint = "only containers started with -d have one; the others wrote to their caller"
            raise Error(f"container {found.id!r} has no log", hint)

    def close(self) -> None:
        """Close it."""
        for part in self.parts:
            part.close()

    def grow(self) -> bool:
        """Find the files that have been begun since; say whether there are any.

        The newest is opened first: whatever is renamed meanwhile is met again, and never missed.
        """
        try:
            if self.parts and os.path.samestat(os.stat(self.path), os.fstat(self.parts[-1].file)):
                return False
            new = [Part(self.path)]
        except FileNotFoundError:  # in the middle of a change, or gone
            return False
        except OSError as error:
            raise Error(reason(error), "run it as root") from error
        old, fresh = ({os.fstat(part.file).st_ino for part in parts} for parts in (self.parts, new))
        number = gaps = 0
        while gaps < 2:  # one is where a file is being renamed
            number += 1
            try:
                part = Part(f"{self.path}.{number}")
            except FileNotFoundError:
                gaps += 1
                continue
            inode = os.fstat(part.file).st_ino
            if inode in old or inode in fresh:
                part.close()
                if inode in old:
                    break
                continue
            fresh.add(inode)
            new.append(part)
        for part in reversed(new):
            part.begin = self.size()
            self.parts.append(part)
        return True

    def size(self) -> int:
        """Return the bytes of all files."""
        return self.parts[-1].begin + self.parts[-1].size() if self.parts else 0

    def watch(self, watch: inotify.Watch) -> None:
        """Have it told when there is more."""
        watch.add(os.path.dirname(self.path), inotify.MODIFY | inotify.CREATE)

    def _part(self, at: int) -> Part:
        return next((part for part in reversed(self.parts) if part.begin <= at), self.parts[0])

    def _pread(self, count: int, at: int) -> bytes:
        part = self._part(at)
        return os.pread(part.file, count, at - part.begin)

    def _when(self, at: int) -> int:
        part = self._part(at)
        return part.when(at - part.begin)

    def _first(self, nsec: int) -> int | None:
        """Return where the first line begins that was begun at a time or later; None if there is none (yet)."""
        for part in self.parts:
            part.look()
            found = bisect.bisect_left(part.times, nsec)
            if found < len(part.times):
                break
        else:
            return None
        at = part.begin + part.offsets[found]
        whole = not at or self._pread(1, at - 1) == b"\n"
        while not whole and (data := self._pread(CHUNK, at)):
            end = data.find(b"\n") + 1
            at, whole = at + (end or len(data)), bool(end)
        return at if whole else None

    def since(self, nsec: int) -> None:
        """Go on with the first line that was begun at a time or later."""
        first = self._first(nsec)
        self.at = self.size() if first is None else first

    def until(self, nsec: int) -> None:
        """End before the first line that was begun at a time or later."""
        self.grow()
        self.end = self._first(nsec)

    def tail(self, lines: int) -> None:
        """Go on with the last lines, where that is further on than now."""
        end = self.size() if self.end is None else self.end
        wanted = lines + 1 if end and self._pread(1, end - 1) == b"\n" else lines
        while end > self.at:
            begin = max(self.at, self._part(end - 1).begin, end - CHUNK)
            data = self._pread(end - begin, begin)
            while (place := data.rfind(b"\n")) >= 0:
                wanted -= 1
                if wanted <= 0:
                    self.at = begin + place + 1
                    return
                data = data[:place]
            end = begin

    def read(self, how: str = PLAIN) -> bytes:
        """Return the next piece, written as is said; b"" if there is none (yet)."""
        most = CHUNK if self.end is None else max(0, min(CHUNK, self.end - self.at))
        data = self._pread(most, self.at)
        if not data and most and self.grow():
            data = self._pread(most, self.at)
        while len(self.parts) > 1 and self.parts[1].begin < self.at:  # it may be on the disk because of us alone
            self.parts.pop(0).close()
        if how == PLAIN:
            self.at += len(data)
            return data
        if how == JSON and b"\n" in data:  # what is cut in the middle of a letter would not be one
            data = data[: data.rfind(b"\n") + 1]
        found = []
        for line in _lines(data):
            begins = how == JSON or not self.at or self._pread(1, self.at - 1) == b"\n"
            when = oci.timestamp(self._when(self.at)) if begins else ""
            self.at += len(line)
            if how == JSON:
                found.append(json_text.dumps({"log": line.decode("utf-8", "replace"), "time": when}) + b"\n")
            else:
                found.append(f"{when} ".encode() * begins + line)
        return b"".join(found)


def _lines(data: bytes) -> list[bytes]:
    """Return lines that only a newline ends."""
    *whole, last = data.split(b"\n")
    return [*(line + b"\n" for line in whole), *([last] if last else [])]

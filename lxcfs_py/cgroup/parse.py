"""The few shapes of text that cgroup files have; nothing here raises for what a file contains."""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.files import Files

UNLIMITED_BYTES = 1 << 62
"""v1 says "no limit" by the largest multiple of a page below 2^63 (mm/page_counter.c): nothing has that much."""
ABSENT = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.EOPNOTSUPP)
"""What opening or reading says where the controller, the file or the whole cgroup is not there (any more)."""
MOST_FAILURES = 64


def text(files: Files, path: str) -> bytes | None:
    """Return a file's text, None if there is no such file (any more) or it can't be read."""
    try:
        return files.read(path)
    except OSError as error:
        if error.errno not in ABSENT and len(files.failures) < MOST_FAILURES:
            files.failures.append(error)
        return None


def integer(data: bytes | None) -> int | None:
    """Return the number a file holds, None for none: absent, ``max``, negative (v1's -1) or garbage."""
    word = (data or b"").strip()
    return int(word) if word.isdigit() and len(word) < 25 else None


def limit(data: bytes | None) -> int | None:
    """Return a limit in bytes, None where there is none."""
    found = integer(data)
    return found if found is not None and found < UNLIMITED_BYTES else None


def flat(data: bytes | None) -> dict[str, int]:
    """Return a flat-keyed file (``key value`` lines; cgroup-v2.rst, "Flat keyed"); other lines are left out."""
    found = {}
    for line in (data or b"").split(b"\n"):
        key, _, value = line.partition(b" ")
        if value.isdigit() and len(value) < 25:
            found[key.decode("ascii", "replace")] = int(value)
    return found


def numbers(data: bytes | None) -> tuple[int, ...]:
    """Return one number a line, as cgroup.procs lists pids."""
    return tuple(int(word) for word in (data or b"").split() if word.isdigit())


def levels(path: str) -> tuple[str, ...]:
    """Return a cgroup and its ancestors, leaf first, without the root."""
    parts = path.strip("/")
    found = []
    while parts:
        found.append("/" + parts)
        parts = parts.rpartition("/")[0]
    return tuple(found)

"""The few shapes of text that cgroup files have; nothing here raises for what a file contains."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.files import Files

UNLIMITED_BYTES = 1 << 62
"""v1 says "no limit" by the largest multiple of a page below 2^63 (mm/page_counter.c): nothing has that much."""


def processes(files: Files, directory: str) -> tuple[int, ...]:
    """Return a cgroup's own processes, which cgroup.procs lists a line each."""
    try:
        return numbers(files.read(f"{directory}/cgroup.procs"))
    except OSError as error:
        files.done_without(error)
        return ()


def integer(data: bytes | None) -> int | None:
    """Return the number a file holds, None for none: absent, ``max``, negative (v1's -1) or garbage."""
    if data is None or data == b"max\n":
        return None
    try:
        found = int(data)
    except ValueError:
        return None
    return found if found >= 0 else None


def limit(data: bytes | None) -> int | None:
    """Return a limit in bytes, None where there is none."""
    found = integer(data)
    return found if found is not None and found < UNLIMITED_BYTES else None


def flat(data: bytes | None) -> dict[str, int]:
    """Return a flat-keyed file (``key value`` lines; cgroup-v2.rst, "Flat keyed"); other lines are left out."""
    if not data:
        return {}
    words = data.decode("ascii", "replace").split()
    try:
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))
    except ValueError:  # cut off, or garbled
        lines = (line.split(" ") for line in data.decode("ascii", "replace").split("\n"))
        return {line[0]: int(line[1]) for line in lines if len(line) == 2 and _is_number(line[1])}


def by_node(data: bytes | None) -> dict[int, dict[str, int]]:
    """Return each node's numbers by key, from lines ``anon N0=4096 N1=0`` (v2's memory.numa_stat)."""
    found: dict[int, dict[str, int]] = {}
    for line in (data or b"").decode("ascii", "replace").split("\n"):
        key, *words = line.split() or [""]
        for word in words:
            node, _, value = word.removeprefix("N").partition("=")
            if word.startswith("N") and _is_number(node) and _is_number(value):
                found.setdefault(int(node), {})[key] = int(value)
    return found


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 25


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


def devices(data: bytes | None) -> dict[str, dict[str, int]]:
    """Return counters by device ``MAJOR:MINOR``, from v2's lines ``8:0 rbytes=1 ...`` and v1's ``8:0 Read 1``."""
    found: dict[str, dict[str, int]] = {}
    for line in (data or b"").decode("ascii", "replace").split("\n"):
        device, *words = line.split() or [""]
        major, _, minor = device.partition(":")
        if not (_is_number(major) and _is_number(minor)):
            continue
        pairs = [word.split("=") for word in words] if "=" in line else [words]
        for pair in pairs:
            if len(pair) == 2 and _is_number(pair[1]):
                found.setdefault(device, {})[pair[0]] = int(pair[1])
    return found

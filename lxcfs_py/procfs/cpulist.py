"""Lists of CPUs and memory nodes, ``0-3,7`` (cpuset(7), "List format")."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX = 1 << 14
"""Numbers beyond this are no CPU's (the kernel's NR_CPUS stays below)."""


_parsed: dict[bytes | str, frozenset[int]] = {}
"""The same few lists come again and again."""


def parse(data: bytes | str) -> frozenset[int]:
    """Return the numbers of a list; parts that are no list are left out."""
    known = _parsed.get(data)
    if known is not None:
        return known
    text = data if isinstance(data, str) else data.decode("ascii", "replace")
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, dash, last = part.partition("-")
        if not dash:
            last = first
        if first.isdecimal() and last.isdecimal() and max(len(first), len(last)) < 6 and int(last) < MAX:
            numbers.update(range(int(first), int(last) + 1))
    if len(_parsed) >= 256:
        _parsed.clear()
    found = _parsed[data] = frozenset(numbers)
    return found


def render(numbers: Iterable[int]) -> str:
    """Return the shortest list of these numbers, as the kernel prints it."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)

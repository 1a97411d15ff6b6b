"""/proc/vmstat: the memory manager's counters, ``name value`` lines (mm/vmstat.c)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def rewrite(data: bytes, values: Mapping[str, int]) -> bytes:
    """Return the text with these values, and 0 for every other name; lines that are no counter's are left out."""
    found = []
    for line in data.decode("ascii", "replace").split("\n"):
        name, _, value = line.partition(" ")
        if name and value.removeprefix("-").isdigit():
            found.append(f"{name} {max(0, values.get(name, 0))}\n")
    return "".join(found).encode("ascii", "replace")


def parse(data: bytes) -> dict[str, int]:
    """Return the counters by name."""
    words = (line.split() for line in data.decode("ascii", "replace").split("\n"))
    return {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].isdecimal() and w[1].isascii() and len(w[1]) < 25}

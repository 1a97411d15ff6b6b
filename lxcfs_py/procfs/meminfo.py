"""/proc/meminfo: amounts of memory (Documentation/filesystems/proc.rst, "meminfo")."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL, WIDTH = 16, 24
"""How wide a name with its colon is, and a line without its unit (fs/proc/meminfo.c); both may be exceeded."""
KIB = 1024


def parse(data: bytes) -> dict[str, int]:
    """Return bytes by name, for lines without "kB" (HugePages_*) the bare count; other lines are left out."""
    found = {}
    for line in data.split(b"\n"):
        name, _, rest = line.partition(b":")
        words = rest.split()
        if words and words[0].isdigit() and len(words[0]) < 20:
            found[name.decode("latin-1")] = int(words[0]) * (KIB if len(words) > 1 else 1)
    return found


def rewrite(data: bytes, values: Mapping[str, int]) -> bytes:
    """Return the text with these values, given as ``parse`` returns them; other lines stay byte for byte."""
    lines = data.split(b"\n")
    for at, line in enumerate(lines):
        name = line.partition(b":")[0].decode("latin-1")
        if name in values and len(name) < len(line):
            kib = line.endswith(b"kB")
            number = str(values[name] // KIB if kib else values[name])
            label = f"{name}: ".ljust(LABEL)
            lines[at] = f"{label}{number.rjust(WIDTH - len(label))}{' kB' if kib else ''}".encode("latin-1")
    return b"\n".join(lines)

"""/proc/meminfo: amounts of memory (Documentation/filesystems/proc.rst, "meminfo")."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

LABEL, WIDTH = 16, 24
"""How wide a name with its colon is, and a line without its unit (fs/proc/meminfo.c); both may be exceeded."""
_LINE = re.compile(rb"([^:\n]+):[ \t]*([0-9]{1,18})( kB)?")


def parse(data: bytes) -> dict[str, int]:
    """Return bytes by name, for lines without "kB" (HugePages_*) the bare count; other lines are left out."""
    found = {}
    for line in data.split(b"\n"):
        if match := _LINE.fullmatch(line):
            found[match[1].decode("latin-1")] = int(match[2]) << (10 if match[3] else 0)
    return found


class Rewriter:
    """Writes some lines of a text anew. A kernel's lines are the same at every reading: they are learnt from the
    first text, as one pattern that takes the next ones apart and one format that puts them together again.

    ``read`` names the values that are of interest, ``written`` the lines that change, and ``zero`` those that are
    always 0; others stay byte for byte.
    """

    def __init__(self, read: Collection[str], written: Collection[str], zero: Collection[str] = ()) -> None:
        self._names = read, {*written, *zero}, zero
        self._learn(b"")

    def _learn(self, text: bytes) -> None:
        read, written, zero = self._names
        pattern, form, groups = [], [], 0
        self._read: list[tuple[str, int, int]] = []
        """Name, group and shift of each value of interest."""
        self._slots: list[tuple[str, int, int]] = []
        """Of each slot of the format the name and shift of its value, or no name and the group that is passed on."""
        for line in text.split(b"\n"):
            match = _LINE.fullmatch(line)
            name = match[1].decode("latin-1") if match else ""
            unit = match[3] or b"" if match else b""
            value = rb"[0-9]{1,18}"
            shift = 10 if unit else 0
            whole = name not in written
            if whole:
                groups += 1
                self._slots.append(("", groups, 0))
                form.append(b"%b")
            else:
                label = f"{name}: ".ljust(LABEL)
                form.append(f"{label.replace('%', '%%')}%{WIDTH - len(label)}d".encode("latin-1") + unit)
                if name in zero:
                    form[-1] = (form[-1] % 0).replace(b"%", b"%%")
                else:
                    self._slots.append((name, 0, shift))
            if name in read:
                groups += 1
                self._read.append((name, groups, shift))
                value = b"(" + value + b")"
            known = re.escape(name.encode("latin-1")) + rb":[ \t]*" + value + unit if name else b".*"
            pattern.append(b"(" + known + b")" if whole else known)
        self._pattern = re.compile(b"\n".join(pattern))
        self._form = b"\n".join(form)

    def __call__(self, text: bytes, decide: Callable[[Mapping[str, int]], Mapping[str, int]]) -> bytes:
        """Return the text with the values that ``decide`` makes of those read (as ``parse`` returns them)."""
        match = self._pattern.fullmatch(text)
        if match is None:
            self._learn(text)
            match = self._pattern.fullmatch(text)
            assert match is not None
        values = decide({name: int(match[group]) << shift for name, group, shift in self._read})
        return self._form % tuple(
            [values[name] >> shift if name else match[group] for name, group, shift in self._slots]
        )

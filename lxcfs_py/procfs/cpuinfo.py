"""/proc/cpuinfo: a block of ``name : value`` lines for each CPU (fs/proc/cpuinfo.c, every show_cpuinfo)."""

from __future__ import annotations

from lxcfs_py.record import Record


class Block(Record):
    """One block without the empty line that ends it. ``processor`` is None where it is no CPU's."""

    text: bytes
    processor: int | None


def parse(data: bytes) -> tuple[Block, ...]:
    """Return the blocks in order; joined by empty lines they are the text again."""
    return tuple(Block(text, _number(field(text, b"processor"))) for text in data.split(b"\n\n"))


def field(text: bytes, name: bytes) -> bytes | None:
    """Return the value a block has for a name, None if it has no such line."""
    for line in text.split(b"\n"):
        key, colon, value = line.partition(b":")
        if colon and key.rstrip() == name:
            return value.strip()
    return None


def with_field(text: bytes, name: bytes, value: int) -> bytes:
    """Return the block with another value in the line of this name, if it has one."""
    lines = text.split(b"\n")
    for at, line in enumerate(lines):
        key, colon, _ = line.partition(b":")
        if colon and key.rstrip() == name:
            lines[at] = key + b": " + str(value).encode()
    return b"\n".join(lines)


def _number(word: bytes | None) -> int | None:
    return int(word) if word is not None and word.isdigit() and len(word) < 9 else None

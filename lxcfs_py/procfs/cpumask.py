"""Masks of CPUs, ``ff,ffffffff`` (lib/vsprintf.c, bitmap_string): hexadecimal, commas every 32 bits."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DIGITS = 1 << 12


def parse(data: bytes) -> frozenset[int]:
    """Return the CPUs of a mask, none of what is no mask."""
    digits = data.strip().replace(b",", b"")
    if not digits or len(digits) > MAX_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
        return frozenset()
    value = int(digits, 16)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def render(cpus: Iterable[int], like: bytes) -> str:
    """Return a mask as wide as another one."""
    width = len(like.strip().replace(b",", b""))
    digits = f"{sum(1 << cpu for cpu in set(cpus)):x}".zfill(width)
    first = len(digits) % 8 or 8
    return ",".join([digits[:first], *(digits[at : at + 8] for at in range(first, len(digits), 8))])

"""Protobuf's wire format (protobuf.dev, "Encoding"), as far as NRI's messages need it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER, BYTES = 0, 2
FIXED = {1: 8, 5: 4}
"""The other kinds of values, and how many bytes each has; groups, 3 and 4, are in no message of version 3."""


class Malformed(Exception):  # noqa: N818  (it is the bytes that are)
    """Bytes that are not what the protocol says."""


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, and where the next thing begins."""
    value = 0
    for count in range(10):  # 64 bits, 7 at a time
        if at >= len(data):
            raise Malformed("a number ends too soon")
        byte = data[at]
        value |= (byte & 0x7F) << 7 * count
        at += 1
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise Malformed("a number of more than 64 bits")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield a message's fields by number: numbers, and the bytes of all else. Raises Malformed."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        kind = key & 7
        if kind == NUMBER:
            value, at = _number(data, at)
            yield key >> 3, value
            continue
        if kind == BYTES:
            size, at = _number(data, at)
        elif kind in FIXED:
            size = FIXED[kind]
        else:
            raise Malformed(f"field {key >> 3} is of kind {kind}")
        if size > len(data) - at:
            raise Malformed(f"field {key >> 3} has {size} bytes, of which {len(data) - at} came")
        yield key >> 3, data[at : at + size]
        at += size


def number(data: bytes, wanted: int) -> int:
    """Return a field that is a number, 0 for none; one of another kind is unknown, as it is to any reader."""
    return next((value for key, value in reversed([*fields(data)]) if key == wanted and isinstance(value, int)), 0)


def content(data: bytes, wanted: int) -> bytes:
    """Return a field that is a text or a message, b"" for none."""
    return next(
        (value for key, value in reversed([*fields(data)]) if key == wanted and isinstance(value, bytes)), b""
    )


def text(data: bytes, wanted: int) -> str:
    """Return a field that is a text, "" for none."""
    return content(data, wanted).decode("utf-8", "replace")


def entry(data: bytes, wanted: int, name: str) -> str:
    """Return the value that a map of texts has by a name, "" for none."""
    entries = (value for key, value in fields(data) if key == wanted and isinstance(value, bytes))
    return next((text(each, 2) for each in entries if text(each, 1) == name), "")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def message(*values: tuple[int, int | str | bytes]) -> bytes:
    """Return a message of fields; a message within one is its bytes."""
    found = bytearray()
    for key, value in values:
        if isinstance(value, int):
            found += _varint(key << 3 | NUMBER) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            found += _varint(key << 3 | BYTES) + _varint(len(data)) + data
    return bytes(found)

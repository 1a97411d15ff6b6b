"""D-Bus messages as bytes and back; pure (D-Bus specification, "Message Protocol" and "Marshaling").

What systemd's manager takes and answers is a small part of D-Bus, and a library for all of it (jeepney, dbus-python)
takes longer to import than the whole start of a container.
"""

from __future__ import annotations

from _struct import pack, unpack_from

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

CALL, ANSWER, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SIGNATURE = 1, 2, 3, 4, 5, 6, 8
"""Header fields."""
TYPES = {
    PATH: "o", INTERFACE: "s", MEMBER: "s", ERROR_NAME: "s", REPLY_SERIAL: "u", DESTINATION: "s", SIGNATURE: "g",
}  # fmt: skip
NUMBERS = {"y": "<B", "b": "<I", "i": "<i", "u": "<I", "x": "<q", "t": "<Q"}
ALIGNED = {"y": 1, "g": 1, "v": 1, "b": 4, "i": 4, "u": 4, "s": 4, "o": 4, "a": 4, "x": 8, "t": 8, "(": 8}
FIXED_BYTES = 16
"""What every message begins with; it says how long the rest is."""
HEADER = "yyyyuua(yv)"


class Message(Record):
    """One message: its kind, header fields and what it carries, as bytes."""

    kind: int
    fields: dict[int, Any]
    body: bytes = b""

    def values(self) -> list[Any]:
        """Return what it carries: most of what the manager tells concerns nobody here."""
        return _take_all(self.body, self.fields.get(SIGNATURE, ""))[0]


def types(signature: str) -> Iterator[str]:
    """Yield the complete types of a signature, one after the other."""
    while signature:
        end = _end(signature)
        yield signature[:end]
        signature = signature[end:]


def _end(signature: str) -> int:
    if signature[0] == "a":
        return 1 + _end(signature[1:])
    depth = 0
    for index, letter in enumerate(signature):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return index + 1
    raise ValueError(signature)


def put(out: bytearray, kind: str, value: Any) -> None:
    """Append a value of one complete type; a variant is a pair of its type and its value."""
    out += bytes(-len(out) % ALIGNED[kind[0]])
    if kind in NUMBERS:
        out += pack(NUMBERS[kind], value)
    elif kind in ("s", "o", "g"):
        text = value.encode("utf-8", "surrogateescape")
        out += (pack("<B", len(text)) if kind == "g" else pack("<I", len(text))) + text + b"\0"
    elif kind == "v":
        put(out, "g", value[0])
        put(out, *value)
    elif kind[0] == "a":
        at = len(out)
        out += bytes(4)
        out += bytes(-len(out) % ALIGNED[kind[1]])  # not counted
        begin = len(out)
        for item in value:
            put(out, kind[1:], item)
        out[at : at + 4] = pack("<I", len(out) - begin)
    else:
        for each, item in zip(types(kind[1:-1]), value, strict=True):
            put(out, each, item)


def take(data: bytes, at: int, kind: str) -> tuple[Any, int]:
    """Return the value of one complete type, a variant's without its type, and where the next one begins."""
    at += -at % ALIGNED[kind[0]]
    if kind in NUMBERS:
        width = 1 if kind == "y" else ALIGNED[kind]
        return unpack_from(NUMBERS[kind], data, at)[0], at + width
    if kind in ("s", "o", "g"):
        length, at = take(data, at, "y" if kind == "g" else "u")
        return data[at : at + length].decode("utf-8", "surrogateescape"), at + length + 1
    if kind == "v":
        inner, at = take(data, at, "g")
        return take(data, at, inner)
    if kind[0] == "a":
        items: list[Any] = []
        length, at = take(data, at, "u")
        at += -at % ALIGNED[kind[1]]
        end = at + length
        while at < end:
            item, at = take(data, at, kind[1:])
            items.append(item)
        return items, at
    values, at = _take_all(data, kind[1:-1], at)
    return tuple(values), at


def _take_all(data: bytes, signature: str, at: int = 0) -> tuple[list[Any], int]:
    values = []
    for kind in types(signature):
        value, at = take(data, at, kind)
        values.append(value)
    return values, at


def call(serial: int, fields: dict[int, str], signature: str, values: Sequence[Any]) -> bytes:
    """Return a method call; ``fields`` say what of whom."""
    body, out = bytearray(), bytearray()
    for kind, value in zip(types(signature), values, strict=True):
        put(body, kind, value)
    there = {**fields, **({SIGNATURE: signature} if signature else {})}
    rows = [(number, (TYPES[number], value)) for number, value in there.items()]
    for kind, value in zip(types(HEADER), (ord("l"), CALL, 0, 1, len(body), serial, rows), strict=True):
        put(out, kind, value)
    return bytes(out + bytes(-len(out) % 8) + body)


def length(start: bytes) -> int:
    """Return how long the message is that begins so (with ``FIXED_BYTES`` at least)."""
    body, _, fields = unpack_from("<III", start, 4)
    return int(FIXED_BYTES + fields + -fields % 8 + body)


def parse(data: bytes) -> Message:
    """Return a whole message; raises ValueError for one of a machine that counts the other way round."""
    if data[:1] != b"l":
        raise ValueError("big-endian")
    (_, kind, _, _, _, _, rows), at = _take_all(data, HEADER)
    return Message(kind, dict(rows), data[at + -at % 8 :])

"""JSON as ``json`` reads and writes it, without importing ``json``: that brings ``re`` along, 4 ms of a start.

``_json`` is the C half of the standard library's module, called as json/encoder.py and json/scanner.py call it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _json: Any
else:
    import _json


class _Context:
    """What the scanner asks of a JSONDecoder."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float
    memo: dict[str, str] = {}  # noqa: RUF012  (the scanner's own)


_scan = _json.make_scanner(_Context)
_encode = _json.make_encoder(None, None, _json.encode_basestring_ascii, None, ": ", ", ", False, False, True)


def dumps(value: Any) -> bytes:
    """Return a value of plain dicts, lists, tuples, strings, numbers, booleans and None as JSON."""
    return "".join(_encode(value, 0)).encode("ascii")


def loads(data: bytes) -> Any:
    """Return the value of a whole JSON text; raises ValueError for anything else, and for one nested too deep."""
    text = data.decode("utf-8").strip(" \t\r\n")
    try:
        value, end = _scan(text, 0)
    except (StopIteration, RecursionError):
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("more than one JSON value")
    return value

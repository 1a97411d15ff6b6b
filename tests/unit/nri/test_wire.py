"""Protobuf's wire format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.nri import wire
from lxcfs_py.nri.wire import Malformed

NUMBERS = st.integers(0, 2**64 - 1)
FIELDS = st.lists(st.tuples(st.integers(1, 2**29 - 1), NUMBERS | st.binary(max_size=300)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([(1, 150)], "089601"),  # these two are the documentation's own examples
        ([(2, "testing")], "120774657374696e67"),
        ([(16, b"\0")], "82010100"),
        ([], ""),
    ],
)
def test_known_bytes(values: list[tuple[int, int | str | bytes]], expected: str) -> None:
    """Messages are the bytes that the format's documentation says."""
    assert wire.message(*values).hex() == expected


@given(FIELDS)
def test_there_and_back(values: list[tuple[int, int | bytes]]) -> None:
    """What is written is read."""
    assert [*wire.fields(wire.message(*values))] == values


@given(FIELDS, st.data())
def test_cut(values: list[tuple[int, int | bytes]], data: st.DataObject) -> None:
    """A message that ends too soon is malformed, or ends between two fields."""
    whole = wire.message(*values)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        assert [*wire.fields(cut)] == values[: len([*wire.fields(cut)])]
    except Malformed:
        assert cut != whole


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("08", "ends too soon"),
        ("80", "ends too soon"),
        ("08" + "ff" * 10 + "01", "more than 64 bits"),
        ("0aff", "ends too soon"),
        ("0a05616263", "field 1 has 5 bytes, of which 3 came"),
        ("0affffffffffffffffff01", "of which 0 came"),
        ("0900", "field 1 has 8 bytes"),
        ("0d00", "field 1 has 4 bytes"),
        ("0b", "kind 3"),
        ("0e", "kind 6"),
    ],
)
def test_malformed(data: str, why: str) -> None:
    """What is no message says why; lengths are believed of nobody."""
    with pytest.raises(Malformed, match=why):
        [*wire.fields(bytes.fromhex(data))]


def test_what_is_wanted() -> None:
    """The last of several counts; unknown fields, and known ones of another kind, are passed over."""
    pairs: list[tuple[int, int | str | bytes]] = [
        (3, wire.message((1, "a"), (2, "b"))),
        (3, wire.message((1, "c"), (2, "d"))),
        (3, 7),
    ]
    data = wire.message((1, "x"), (1, 5), (2, b"\xff"), (2, 9), (99, "unknown"), (1, "y"), *pairs)
    data += bytes.fromhex("2901000000000000003501000000")  # fixed ones, of 8 bytes and of 4
    assert (wire.text(data, 1), wire.number(data, 1), wire.number(data, 2), wire.text(data, 2)) == (
        "y",
        5,
        9,
        "\ufffd",
    )
    assert (wire.text(data, 7), wire.number(data, 7), wire.content(data, 7)) == ("", 0, b"")
    assert [wire.entry(data, 3, name) for name in "ace"] == ["b", "d", ""]

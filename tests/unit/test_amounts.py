"""Flat-keyed texts that are read again and again."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from lxcfs_py.cgroup.amounts import Amounts
from lxcfs_py.cgroup.parse import flat

NAMES = {"anon": "one", "file": "two", "swap": "three"}
LINES = st.lists(
    st.tuples(st.sampled_from(["anon", "file", "swap", "x", "", "a b"]), st.integers(0, 10**20)), max_size=6
)
TEXTS = LINES.map(lambda lines: "".join(f"{key} {value}\n" for key, value in lines).encode())


@example([b"anon 0\nfile 0\n 0\nanon 1\n"], 0)
@example([b"anon 0\nfile 0 x y\n"], 0)
@given(st.lists(st.one_of(TEXTS, st.binary(max_size=40)), max_size=8), st.integers(0, 60))
def test_what_was_learnt_changes_nothing(texts: list[bytes], cut: int) -> None:
    """Whatever was read before, whole or cut off, a text says what it says when it is the first."""
    every, some = Amounts(), Amounts(NAMES)
    for text in [part for whole in texts for part in (whole, whole[:cut], whole)]:
        found = flat(text)
        assert every(text) == found
        assert some(text) == {name: found[key] for key, name in NAMES.items() if key in found}
    assert every(None) == some(b"") == {}

"""A store of descriptors: kept as long as somebody has its ends, whoever put them there."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import store
from lxcfs_py.seccomp.protocol import SLOTS
from lxcfs_py.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    """Yield the ends of a new store."""
    found = store.ends()
    yield found
    for end in found:
        os.close(end)


def taken(kept: Store) -> dict[object, bytes]:
    """Return what is kept, by what was said of it, and what each pipe holds; the newest of several."""
    found = {}
    for about, descriptor in kept.kept():
        found[about] = os.pread(descriptor, 16, 0)
        os.close(descriptor)
    return found


def file(text: str) -> int:
    """Return a descriptor of a file with a text."""
    descriptor = os.memfd_create("test")
    os.write(descriptor, text.encode())
    return descriptor


def put(into: Store, about: object, text: str) -> None:
    """Put a file there, and close ours."""
    descriptor = file(text)
    into.put(about, descriptor)
    os.close(descriptor)


def test_kept_by_its_ends(ends: tuple[int, int]) -> None:
    """What one process put there, the next finds, and the one after that again."""
    first = Store(*ends)
    put(first, "a", "one")
    put(first, ["b", 2], "two")
    first.close()
    for _ in range(2):
        second = Store(*ends)
        found = second.kept()
        assert [(about, os.pread(descriptor, 9, 0)) for about, descriptor in found] == [
            ("a", b"one"),
            (["b", 2], b"two"),
        ]
        for _, descriptor in found:
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
        second.close()


def test_the_newest_comes_last(ends: tuple[int, int]) -> None:
    """Of two with one name the newer is found last."""
    kept = Store(*ends)
    put(kept, 5, "old")
    put(kept, 5, "new")
    assert taken(kept) == {5: b"new"}
    kept.close()


def test_renewed(ends: tuple[int, int]) -> None:
    """After a renewal those are kept that were named, and the others closed: a pipe says so."""
    kept = Store(*ends)
    reader, writer = os.pipe()
    kept.put("dead", writer)
    os.close(writer)
    put(kept, "living", "x")
    live = kept.kept()
    os.close(live[0][1])
    kept.renew(lambda: live[1:])
    os.close(live[1][1])
    assert os.read(reader, 1) == b""  # nobody has the other end any more
    assert taken(kept) == {"living": b"x"}
    os.close(reader)
    kept.close()


def test_killed_in_a_renewal(ends: tuple[int, int]) -> None:
    """Whoever is killed between keeping them anew and letting go of the old ones loses nothing."""
    with closing(Store(*ends)) as kept:
        for number in range(3):
            put(kept, number, str(number))
        live = kept.kept()
        for group in store._groups(live):
            kept._send(group)
    with closing(Store(*ends)) as again:
        assert taken(again) == {0: b"0", 1: b"1", 2: b"2"}
        again.renew(lambda: live)
        assert taken(again) == {0: b"0", 1: b"1", 2: b"2"}
    for _, descriptor in live:
        os.close(descriptor)


def test_thousands(ends: tuple[int, int]) -> None:
    """As many are kept as there may be listeners; the queue never fills, because it is renewed when it is long."""
    kept, descriptor = Store(*ends), file("x")
    live: dict[int, int] = {}
    for number in range(SLOTS):
        live[number] = descriptor
        if kept.is_long(len(live)):
            kept.renew(live.items)
        else:
            kept.put(number, descriptor)
    kept.close()
    again, found = Store(*ends), set()
    for about, copy in again.kept():
        found.add(about)
        os.close(copy)
    assert found == set(live)
    again.close()
    os.close(descriptor)


def fill(kept: Store, descriptor: int) -> None:
    """Put more than there is room for."""
    for number in range(1 << 16):
        kept.put(number, descriptor)


def test_full(ends: tuple[int, int]) -> None:
    """A queue that is full says so, and what is in it stays."""
    descriptor = file("x")
    with closing(Store(*ends)) as kept, pytest.raises(BlockingIOError):
        fill(kept, descriptor)
    with closing(Store(*ends)) as again:
        assert taken(again)[0] == b"x"
    os.close(descriptor)

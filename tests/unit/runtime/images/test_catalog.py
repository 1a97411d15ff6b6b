"""What the index says, and how it changes."""

from __future__ import annotations

import pytest

from lxcfs_py.errors import Error
from runtime.images import catalog, manifest
from runtime.images.manifest import Descriptor


def image(letter: str, name: str = "") -> Descriptor:
    """Return the entry of an image whose id is that hex digit again and again."""
    found = Descriptor(manifest.MANIFEST, f"sha256:{letter * 64}", 1)
    return catalog.entry_of(found, f"sha256:{letter * 64}", [letter], name and f"docker.io/library/{name}:latest")


def names(entries: tuple[Descriptor, ...]) -> list[str]:
    """Return ids and names, short."""
    return [f"{catalog.id_(e)[0]}:{catalog.name(e)[len('docker.io/library/') : -len(':latest')]}" for e in entries]


A, B, A2 = image("a", "one"), image("b", "two"), image("a", "other")


def test_a_name_moves() -> None:
    """Who had the name is nameless from then on, but for one that has another name, which is not listed twice."""
    assert names(catalog.with_all((A, B), [image("c", "one")])) == ["a:", "b:two", "c:one"]
    assert names(catalog.with_all((A, A2, B), [image("c", "one")])) == ["a:other", "b:two", "c:one"]
    assert names(catalog.with_all((image("a"),), [A])) == ["a:one"]
    assert names(catalog.with_all((A,), [A])) == ["a:one"]
    assert names(catalog.with_all((A,), [image("a")])) == ["a:one"]


def test_finding() -> None:
    """A name finds its entry, an id or its beginning all names of the image."""
    entries = (A, A2, B)
    assert catalog.find(entries, "one") == (A,)
    assert catalog.find(entries, "docker.io/library/one:latest") == (A,)
    assert names(catalog.find(entries, "aaaa")) == ["a:one", "a:other"]
    assert catalog.find(entries, f"sha256:{'b' * 64}") == (B,)
    for text in ("aaa", "three", "dddd", "one:2"):
        with pytest.raises(Error, match="is not here; pyproc pull"):
            catalog.find((A, B), text)
    with pytest.raises(Error, match=r"write one$"):
        catalog.find((A, B), "One")


def test_a_beginning_of_two_ids() -> None:
    """An id's beginning that several have is an Error naming them."""
    longer = A.replace(annotations={**A.annotations, catalog.ID: "sha256:aaaa" + "b" * 60})
    with pytest.raises(Error, match="aaaaaaaaaaaa, aaaabbbbbbbb; write more"):
        catalog.find((A, longer), "aaaa")


def test_removing() -> None:
    """A name goes; the last one of an image in use, or an id with several names, only by force."""
    stay, gone = catalog.removed((A, A2, B), "one", used=[catalog.id_(A)], force=False)
    assert (names(stay), names(gone)) == (["a:other", "b:two"], ["a:one"])
    with pytest.raises(Error, match="a container is made of it"):
        catalog.removed((A, B), "one", used=[catalog.id_(A)], force=False)
    with pytest.raises(Error, match=r"has the names docker.io/library/one:latest, docker.io/library/other:latest"):
        catalog.removed((A, A2), "aaaa", used=[], force=False)
    assert names(catalog.removed((A, A2, B), "aaaa", used=[catalog.id_(A)], force=True)[0]) == ["b:two"]


def test_pruning() -> None:
    """Nameless images go, or all; never one a container is made of."""
    entries = (A, image("c"), image("d"))
    used = ["d" * 64]
    assert names(catalog.pruned(entries, used, everything=False)[1]) == ["c:"]
    assert names(catalog.pruned(entries, used, everything=True)[1]) == ["a:one", "c:"]


def test_the_index_is_written_as_read() -> None:
    """Entries survive the index's text, names, ids and layers included."""
    assert manifest.index(manifest.index_text((A, B)), "it") == (A, B)

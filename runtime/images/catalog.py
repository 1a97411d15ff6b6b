"""What the store's index says of images, and how it changes: pure.

An entry is an image under one name, or a nameless one. Its annotations hold what finding and starting it takes: a
start reads one file more than this, the configuration.
"""

from __future__ import annotations

from lxcfs_py.errors import Error
from runtime.errors import RunError
from runtime.images import manifest, reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.images.manifest import Descriptor

ID = "io.pyproc.id"
"""Our annotation: the digest of the configuration, which is the image's id, as Docker's."""
SHORT = 12


def name(entry: Descriptor) -> str:
    """Return the image's name, "" for a nameless one."""
    return entry.annotations.get(manifest.NAME, "")


def id_(entry: Descriptor) -> str:
    """Return the image's id, 64 hex digits."""
    return entry.annotations.get(ID, "").removeprefix("sha256:")


def chains(entry: Descriptor) -> tuple[str, ...]:
    """Return the ids of its layers in the store, the base first."""
    return tuple(entry.annotations.get(manifest.CHAINS, "").split())


def entry_of(found: Descriptor, image_id: str, layers: Iterable[str], called: str = "") -> Descriptor:
    """Return the entry of an image; without ``called`` a nameless one."""
    notes = {ID: image_id, manifest.CHAINS: " ".join(layers), **({manifest.NAME: called} if called else {})}
    return found.replace(annotations=notes, platform=("", "", ""))


def _nameless(entry: Descriptor) -> Descriptor:
    return entry.replace(annotations={key: v for key, v in entry.annotations.items() if key != manifest.NAME})


def _tidy(entries: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the entries, each once, and nameless ones only of images without a name."""
    found = tuple(dict.fromkeys((entry.digest, name(entry)) for entry in entries))
    by_key = {(entry.digest, name(entry)): entry for entry in entries}
    named = {digest for digest, called in found if called}
    return tuple(by_key[key] for key in found if key[1] or key[0] not in named)


def with_all(entries: Sequence[Descriptor], new: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the entries with some more; who had a name of theirs before is nameless from now on."""
    found = list(entries)
    for entry in new:
        called = name(entry)
        found = [*(_nameless(old) if called and name(old) == called else old for old in found), entry]
    return _tidy(found)


def find(entries: Sequence[Descriptor], text: str) -> tuple[Descriptor, ...]:
    """Return the entries of the image of that name or id, or beginning of an id; raises an Error for none or several.

    A name gives its one entry; an id all names of the image.
    """
    try:
        called = str(reference.parse(text))
    except RunError:
        called = ""
    if by_name := tuple(entry for entry in entries if called and name(entry) == called):
        return by_name
    start = text.removeprefix("sha256:")
    if len(start) >= 4 and set(start) <= reference.HEX:
        by_id = tuple(entry for entry in entries if id_(entry).startswith(start))
        if len({id_(entry) for entry in by_id}) > 1:
            ids = ", ".join(sorted({id_(entry)[:SHORT] for entry in by_id}))
            raise RunError(f"image {text!r}: the beginning of {ids}", "write more of it")
        if by_id:
            return by_id
    if not called:
        reference.parse(text)  # says why it is not a name
    raise RunError(f"image {text!r} is not here", f"pyproc pull {text} gets it; pyproc images shows what is here")


def removed(
    entries: Sequence[Descriptor], text: str, used: Iterable[str], *, force: bool
) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
    """Return what stays and what goes when somebody removes an image by a name or its id.

    ``used`` are the ids of images that containers are made of. Raises an Error for one that has other names, when it
    is called by its id, and for the last name of one that is used; not if ``force``.
    """
    gone = find(entries, text)
    stay = tuple(entry for entry in entries if entry not in gone)
    if not force and len(gone) > 1:
        names = ", ".join(filter(None, map(name, gone)))
        raise Error(f"image {text!r} has the names {names}", "remove these, or use --force")
    if not force and id_(gone[0]) in set(used) - {id_(entry) for entry in stay}:
        raise Error(f"image {text!r}: a container is made of it", "remove the container first, or use --force")
    return stay, gone


def pruned(
    entries: Sequence[Descriptor], used: Iterable[str], *, everything: bool
) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
    """Return what stays and what goes: nameless images no container is made of, or ``everything`` no container is."""
    needed = set(used)
    gone = tuple(entry for entry in entries if id_(entry) not in needed and (everything or not name(entry)))
    return tuple(entry for entry in entries if entry not in gone), gone

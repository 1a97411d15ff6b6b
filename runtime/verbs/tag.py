"""``pyproc tag``: give an image further names."""

from __future__ import annotations

from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.images.manifest import Descriptor

VERB = Verb("tag", "Give an image further names; who had one of them before loses it.", "IMAGE NAME...", 2, None)


def run(parsed: Parsed) -> int:
    """Give them."""
    from runtime.images import catalog, commit
    from runtime.images.store import Store

    store, names = Store(parsed["storage"]), commit.names(parsed.rest[1:])

    def change(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
        found = catalog.find(entries, parsed.rest[0])[0]
        about = catalog.id_(found), catalog.chains(found)
        new = [catalog.entry_of(found, f"sha256:{about[0]}", about[1], name) for name in names]
        return catalog.with_all(entries, new)

    with store.shared():
        store.change(change)
    return 0

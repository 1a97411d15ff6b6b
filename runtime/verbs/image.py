"""``pyproc image``: Docker's other names for what there is about images; and ``inspect``, which has no other."""

from __future__ import annotations

from runtime.options import JSON
from runtime.verbs import Group, Verb, export, history, images, inspect, prune, pull, push, rmi, tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

    from runtime.command_line import Parsed
    from runtime.images.manifest import Descriptor
    from runtime.images.store import Store
    from runtime.verbs import Chosen

INSPECT = Verb(
    "inspect",
    "Show all that is known of images, as JSON with Docker's keys.",
    "IMAGE...",
    1,
    None,
    (inspect.FORMAT, JSON),
)
IMPORT = __import__("runtime.verbs.import", fromlist=("VERB",))  # a word of the language
OTHERS: dict[str, ModuleType] = {
    "history": history, "import": IMPORT, "load": IMPORT, "ls": images, "prune": prune, "pull": pull, "push": push,
    "rm": rmi, "save": export, "tag": tag,
}  # fmt: skip
"""Second words, and the verbs they mean."""
VERB = Group(
    "image",
    "Look after images: the same commands by Docker's longer names, and inspect.",
    (INSPECT, *(module.VERB.replace(name=word) for word, module in OTHERS.items())),
    mapped=True,
)


def describe(store: Store, names: Sequence[str], entry: Descriptor) -> dict[str, Any]:
    """Return what is said of an image that has these names."""
    from lxcfs_py import json_text
    from runtime.images import catalog, reference

    id_ = f"sha256:{catalog.id_(entry)}"
    said = json_text.loads(store.read(id_))
    tags = [f"{found.familiar}:{found.tag}" for found in map(reference.parse, names) if found.tag]
    return {
        "Id": id_,
        "RepoTags": tags,
        "Digest": entry.digest,
        "Created": said.get("created", ""),
        "Author": said.get("author", ""),
        "Architecture": said.get("architecture", ""),
        "Variant": said.get("variant", ""),
        "Os": said.get("os", ""),
        "Size": sum(int(store.about(chain)["bytes"]) for chain in catalog.chains(entry)),
        "Config": said.get("config") or {},
        "RootFS": {"Type": "layers", "Layers": said["rootfs"]["diff_ids"]},
        "History": said.get("history") or [],
    }


def _inspect(parsed: Parsed) -> None:
    from runtime.images import catalog
    from runtime.images.store import Store

    store = Store(parsed["storage"])
    entries = store.entries()
    found = []
    for text in parsed.rest:
        entry = catalog.find(entries, text)[0]
        names = [catalog.name(each) for each in entries if catalog.id_(each) == catalog.id_(entry)]
        found.append(describe(store, [name for name in names if name], entry))
    inspect.show(parsed, found)


def run(chosen: Chosen) -> int:
    """Do what the word after ``image`` says."""
    verb, parsed = chosen
    if verb.name in OTHERS:
        return int(OTHERS[verb.name].run(parsed))
    _inspect(parsed)
    return 0

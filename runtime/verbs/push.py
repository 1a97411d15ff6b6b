"""``pyproc push``: put an image into a registry."""

from __future__ import annotations

import sys

from runtime.verbs import Verb
from runtime.verbs.pull import ACCESS, access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb("push", "Put an image into a registry, under its name or another.", "IMAGE [NAME]", 1, 2, ACCESS)


def run(parsed: Parsed) -> int:
    """Push it, and print the digest it has there."""
    from runtime.errors import RunError
    from runtime.images import catalog, push, reference
    from runtime.images.store import Store

    store = Store(parsed["storage"])
    (entry, *others) = catalog.find(store.entries(), parsed.rest[0])
    called = parsed.rest[1] if len(parsed.rest) > 1 else catalog.name(entry)
    if not called or (others and len(parsed.rest) == 1):
        raise RunError(f"image {parsed.rest[0]!r}: under which name?", "say HOST/NAME:TAG after it")
    name = reference.parse(called)
    if name.digest and len(parsed.rest) == 1:
        raise RunError(f"image {called!r} has a digest for a name", "say HOST/NAME:TAG after it")
    digest = push.push(store, entry, name, access(parsed))
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps({"id": catalog.id_(entry), "name": str(name), "digest": digest}) + "\n")
    else:
        sys.stdout.write(f"{digest}\n")
    return 0

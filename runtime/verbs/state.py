"""``pyproc state``: one container's state, as OCI's JSON."""

from __future__ import annotations

import sys

from runtime import oci, state
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb("state", "Print a container's state as OCI's JSON.", "ID", 1, 1)


def run(args: Sequence[str]) -> int:
    """Print it."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    import json

    root = parsed["root"]
    found = state.load(root, state.find(root, parsed.rest[0]))
    sys.stdout.write(json.dumps(oci.describe(root, found), indent=2) + "\n")
    return 0

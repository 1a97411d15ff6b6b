"""``pyproc state``: one container's state, as OCI's JSON."""

from __future__ import annotations

import sys

from lxcfs_py import json_text
from runtime.lifecycle import finding, oci
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb("state", "Print a container's state as OCI's JSON.", "ID", 1, 1)


def text(value: object) -> str:
    """Return JSON."""
    return json_text.dumps(value).decode()


def run(parsed: Parsed) -> int:
    """Print it."""
    root = parsed["root"]
    found = finding.get(parsed, parsed.rest[0])
    lines = (f"  {text(key)}: {text(value)}" for key, value in oci.describe(root, found).items())
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")
    return 0

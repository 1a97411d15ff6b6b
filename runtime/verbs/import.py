"""``pyproc import``: images from files: docker-archive, oci-archive, an OCI directory, a root's tar."""

from __future__ import annotations

import os
import sys

from lxcfs_py.errors import Error
from runtime.command_line import Option
from runtime.options import JSON
from runtime.verbs import Verb
from runtime.verbs.commit import CHANGE
from runtime.verbs.pull import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "import",
    "Make images of an archive, an OCI directory or a root's tar; - is the standard input.",
    "[FILE [NAME]]",
    0,
    2,
    (
        Option(("-i", "--input"), "The same as FILE (default: -)", "FILE"),
        CHANGE,
        Option(("-m", "--message"), "Note about it, for a root's tar", "TEXT"),
        QUIET,
        JSON,
    ),
    mapped=True,
)


def run(parsed: Parsed) -> int:
    """Import them, and print their ids."""
    from runtime.images.progress import Progress
    from runtime.images.sources import Import
    from runtime.images.store import Store

    said = [parsed["input"], *parsed.rest] if parsed["input"] else [*parsed.rest]
    path, called = said[0] if said else "-", "".join(said[1:2])
    if path == "-" and os.isatty(0):
        raise Error("- is the terminal", "hand in an archive: ... | pyproc import -")
    ids = Import(
        Store(parsed["storage"]), called, Progress(quiet=parsed["quiet"]), parsed["change"], parsed["message"] or ""
    ).run(path)
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps([{"id": id_} for id_ in ids]) + "\n")
    else:
        sys.stdout.write("".join(f"{id_}\n" for id_ in ids))
    return 0

"""``pyproc export``: write an image to an archive."""

from __future__ import annotations

import os
import sys

from lxcfs_py.errors import Error, reason
from runtime.command_line import Option
from runtime.options import JSON
from runtime.verbs import Verb
from runtime.verbs.pull import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb(
    "export",
    "Write an image to an archive.",
    "IMAGE",
    1,
    1,
    (
        Option(("-o", "--output"), "File to write (- is the standard output)", "FILE", default="-"),
        Option(
            ("--format",),
            "Whose archive",
            "oci-archive|docker-archive",
            choices=("oci-archive", "docker-archive"),
            default="oci-archive",
        ),
        QUIET,
        JSON,
    ),
    mapped=True,
)


def run(args: Sequence[str]) -> int:
    """Write it; a file has its name only when it is complete."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime.images import catalog, export
    from runtime.images.progress import Progress
    from runtime.images.store import Store

    store, path = Store(parsed["storage"]), parsed["output"]
    entries = catalog.find(store.entries(), parsed.rest[0])
    progress = Progress(quiet=parsed["quiet"])
    if path == "-":
        if os.isatty(1):
            raise Error("the standard output is a terminal", "write to a file with -o FILE, or into a pipe")
        if parsed["json"]:
            raise Error("--json and the archive can't both go to the standard output", "give -o FILE")
        export.export(store, entries, parsed["format"], sys.stdout.buffer, progress)
        return 0
    new = f"{path}.{os.getpid()}.new"
    try:
        with open(new, "xb") as file:
            export.export(store, entries, parsed["format"], file, progress)
        os.rename(new, path)
    except OSError as error:
        raise Error(reason(error), "name a file that can be written") from error
    finally:
        if os.path.lexists(new):
            os.unlink(new)
    if parsed["json"]:
        import json

        found = {"id": catalog.id_(entries[0]), "file": os.path.abspath(path), "bytes": os.path.getsize(path)}
        sys.stdout.write(json.dumps(found) + "\n")
    return 0

"""``pyproc export``: write an image to an archive, or a container's files to a tar."""

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
    from collections.abc import Callable
    from typing import IO, Any

    from runtime.command_line import Parsed
    from runtime.images.progress import Progress
    from runtime.images.store import Store

VERB = Verb(
    "export",
    "Write an image to an archive; or a container's files to a tar, where no image has that name.",
    "IMAGE|ID",
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


def _source(parsed: Parsed, store: Store, progress: Progress) -> tuple[str, Callable[[IO[bytes]], None]]:
    """Return the id of what is named, and what writes it."""
    from runtime import state
    from runtime.images import catalog, export
    from runtime.lifecycle import finding

    name = parsed.rest[0]
    try:
        entries = catalog.find(store.entries(), name)
    except Error as unknown:
        try:
            id_ = finding.find(parsed, name)
        except state.MissingError:
            raise unknown from None
        return id_, lambda out: _files(parsed, id_, out)
    return catalog.id_(entries[0]), lambda out: export.export(store, entries, parsed["format"], out, progress)


def _files(parsed: Parsed, name: str, out: IO[bytes]) -> None:
    from runtime.images.pack import Pack
    from runtime.lifecycle import finding, upper

    with finding.Locked(parsed, name) as held:
        found = held.load()
        root = upper.merged(found)
        try:
            with upper.Still(held.root, found, held.let_go, pause=bool(found.cgroup)):
                Pack(root).write(out)
        finally:
            os.close(root)


def run(parsed: Parsed) -> int:
    """Write it; a file has its name only when it is complete."""
    from runtime.images.progress import Progress
    from runtime.images.store import Store
    from runtime.images.stream import Out

    store, path = Store(parsed["storage"]), parsed["output"]
    progress = Progress(quiet=parsed["quiet"])
    id_, write = _source(parsed, store, progress)
    if path == "-":
        if os.isatty(1):
            raise Error("the standard output is a terminal", "write to a file with -o FILE, or into a pipe")
        if parsed["json"]:
            raise Error("--json and the archive can't both go to the standard output", "give -o FILE")
        there: Any = Out(sys.stdout.buffer)
        write(there)
        return 0
    new = f"{path}.{os.getpid()}.new"
    try:
        with open(new, "xb") as file:
            write(file)
        os.rename(new, path)
    except OSError as error:
        raise Error(reason(error), "name a file that can be written") from error
    finally:
        if os.path.lexists(new):
            os.unlink(new)
    if parsed["json"]:
        import json

        found = {"id": id_, "file": os.path.abspath(path), "bytes": os.path.getsize(path)}
        sys.stdout.write(json.dumps(found) + "\n")
    return 0

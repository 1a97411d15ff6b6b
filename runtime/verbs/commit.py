"""``pyproc commit``: make an image of a container."""

from __future__ import annotations

import sys

from lxcfs_py.errors import Error
from runtime import state
from runtime.command_line import Option
from runtime.options import JSON
from runtime.verbs import Verb
from runtime.verbs.pull import QUIET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

CHANGE = Option(("-c", "--change"), "Change what the image says, by a line of a Dockerfile", "LINE", many=True)
VERB = Verb(
    "commit",
    "Make an image of a container: what it has changed, on its image. Volumes and binds are no part of it.",
    "ID [IMAGE]",
    1,
    2,
    (
        Option(("-a", "--author"), "Who made it", "TEXT"),
        CHANGE,
        Option(("-m", "--message"), "What it is for", "TEXT"),
        Option(
            ("-p", "--pause"),
            "Let its processes stand still meanwhile",
            "BOOL",
            choices=("true", "false"),
            default="true",
        ),
        QUIET,
        JSON,
    ),
    mapped=True,
)


def run(parsed: Parsed) -> int:
    """Make it, and print its id."""
    from runtime.images import commit
    from runtime.images.progress import Progress
    from runtime.images.store import Store
    from runtime.lifecycle import finding, upper

    with finding.Locked(parsed, parsed.rest[0]) as held:
        found = held.load()
        if state.status(held.root, found, locked=True) == state.CREATING:
            raise Error(f"container {held.id!r} is being made", "try again when it runs")
        use, (part, *_) = upper.use(found), upper.parts(found)
        wish = commit.Wish(
            names=commit.names(parsed.rest[1:]),
            author=parsed["author"] or "",
            message=parsed["message"] or "",
            changes=parsed["change"],
            created_by=" ".join(found.command),
        )
        still = upper.Still(held.root, found, held.let_go, pause=parsed["pause"] == "true")
        progress = Progress(quiet=parsed["quiet"])
        made = commit.commit(Store(parsed["storage"]), use, part.upper, wish, still, progress)
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps({"id": made, "names": list(wish.names)}) + "\n")
    else:
        sys.stdout.write(f"{made}\n")
    return 0

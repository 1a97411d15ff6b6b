"""``pyproc cleanup``: let go of what a container that has ended has no use for; its holder calls it at the end."""

from __future__ import annotations

from lxcfs_py.errors import Error
from runtime import state
from runtime.command_line import Option
from runtime.lifecycle import finding
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "cleanup",
    "Remove what only a running container needs, of those that have ended: cgroups, addresses, ports; all with --rm.",
    "ID...",
    1,
    None,
    (Option(("--holder",), "As its holder, which calls it so: begin a new log, or end as it did", kind="flag"),),
)


def _holder(root: str, storage: str, id_: str) -> int:
    """Do what the holder left to us, who are the holder; return the container's exit code."""
    from runtime.lifecycle import ending, hold

    try:
        code = hold.over()
    except OSError:
        raise Error(f"--holder: {id_!r} is not held by this process", "leave it out") from None
    if code is None:
        hold.turn(root, storage, id_)
    try:
        ending.tidy(root, id_)
    except (Error, OSError):  # there is nobody to tell: whoever asks for the container next will be
        pass
    return code


def run(parsed: Parsed) -> int:
    """Do it for each; one that runs is an Error."""
    root = parsed["root"]
    if parsed["holder"]:
        return _holder(root, parsed["storage"], parsed.rest[0])
    from runtime.lifecycle import ending, oci

    for text in parsed.rest:
        found = finding.get(parsed, text)
        if (now := oci.status(root, found)) != state.STOPPED:
            raise Error(f"container {found.id!r} needs what it has: it is {now}", f"pyproc stop {found.id} ends it")
        ending.tidy(root, found.id)
    return 0

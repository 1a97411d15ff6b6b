"""``pyproc delete`` and ``rm``: remove what is left of containers."""

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
    "delete",
    "Remove containers: state, files, log and cgroups.",
    "ID...",
    1,
    None,
    (
        Option(("-f", "--force"), "Kill them if they run, and accept that they are gone", kind="flag"),
        Option(("-v", "--volumes"), "Remove their anonymous volumes, too", kind="flag"),
    ),
)


def _from_systemd(root: str, id_: str, *, force: bool) -> None:
    """Take a container from systemd that starts it again."""
    try:
        found = state.load(root, id_)
    except Error:
        return
    if state.RESTART in found.annotations:
        from runtime.lifecycle import service

        if service.managed(found) and (force or state.status(root, found) == state.STOPPED):
            service.remove(found)


def delete(parsed: Parsed, text: str, *, force: bool, volumes: bool = False) -> None:
    """Remove one container, its anonymous ``volumes`` if asked.

    Without ``force`` one that runs, or whose state is unreadable, is an Error.
    """
    root, id_ = parsed["root"], finding.find(parsed, text)
    _from_systemd(root, id_, force=force)
    with finding.Locked(parsed, id_) as held:
        try:
            found = held.load()
        except state.MissingError:
            raise
        except Error:
            if not force:
                raise
            found = state.remains(root, parsed["storage"], id_)
        if not force and state.status(root, found, locked=True) != state.STOPPED:
            now = state.status(root, found, locked=True)
            raise Error(f"container {id_!r} is {now}, not stopped", f"stop it, or use pyproc delete --force {id_}")
        from runtime.lifecycle.cleanup import cleanup

        cleanup(found, volumes=volumes)


def run(parsed: Parsed) -> int:
    """Remove each; the first that can't be removed ends it."""
    for text in parsed.rest:
        try:
            delete(parsed, text, force=parsed["force"], volumes=parsed["volumes"])
        except state.MissingError:
            if not parsed["force"]:
                raise
    return 0

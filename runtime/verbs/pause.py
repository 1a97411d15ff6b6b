"""``pyproc pause``: stop all processes of a container where they are (the freezer of cgroups)."""

from __future__ import annotations

from lxcfs_py.errors import Error
from runtime import state
from runtime.lifecycle import finding, oci
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb("pause", "Stop all processes of containers where they are.", "ID...", 1, None)


def change(parsed: Parsed, *, freeze: bool) -> None:
    """Freeze or thaw each."""
    for text in parsed.rest:
        _change(parsed, text, freeze=freeze)


def _change(parsed: Parsed, text: str, *, freeze: bool) -> None:
    """Freeze or thaw it; raises an Error unless it is in the state for that."""
    from lxcfs_py.cgroup import control
    from runtime import places
    from runtime.lifecycle import members

    root = parsed["root"]
    found = finding.get(parsed, text)
    now = oci.status(root, found)
    if freeze and now not in (state.CREATED, state.RUNNING):
        raise Error(f"container {found.id!r} can't be paused: it is {now}", "only what runs can be paused")
    members.needs_cgroup(found, "paused")
    if not freeze and now != oci.PAUSED:
        raise Error(f"container {found.id!r} can't be resumed: it is {now}", "only what is paused can be resumed")
    (control.freeze if freeze else control.thaw)(places.layout(found.cgroup), found.cgroup)


def run(parsed: Parsed) -> int:
    """Pause them."""
    change(parsed, freeze=True)
    return 0

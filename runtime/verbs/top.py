"""``pyproc top``: the processes of a container that runs, in ps(1)'s columns."""

from __future__ import annotations

from lxcfs_py.errors import Error
from runtime import state
from runtime.lifecycle import finding, oci
from runtime.options import JSON
from runtime.verbs import Verb, ps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "top",
    "Show the processes of a container that runs.",
    "ID [PS-OPTION]...",
    1,
    None,
    (JSON,),
    interspersed=False,
)


def run(parsed: Parsed) -> int:
    """Show them."""
    found = finding.get(parsed, parsed.rest[0])
    if (now := oci.status(parsed["root"], found)) == state.STOPPED:
        raise Error(f"container {found.id!r} has no processes: it is {now}", "pyproc start starts it")
    ps.processes(found, parsed.rest[1:], as_json=parsed["json"])
    return 0

"""``pyproc resume``: let the processes of a paused container go on."""

from __future__ import annotations

from runtime.verbs import Verb, pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb("resume", "Let the processes of paused containers go on.", "ID...", 1, None)


def run(parsed: Parsed) -> int:
    """Resume them."""
    pause.change(parsed, freeze=False)
    return 0

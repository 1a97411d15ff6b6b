"""``pyproc restart``: stop containers and start them again."""

from __future__ import annotations

from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb, start, stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb("restart", "Stop containers and start them again.", "ID...", 1, None, (stop.SIGNAL, stop.TIME, JSON))


def run(parsed: Parsed) -> int:
    """Do it, one after the other; those that can't be started again are not stopped."""
    from runtime.config import joined
    from runtime.lifecycle import again

    for found in [finding.get(parsed, text) for text in parsed.rest]:
        joined.renewed(again.kept(found))
        stop.stop(parsed, found.id)
        if code := start.start(parsed, found.id):
            return code
    return 0

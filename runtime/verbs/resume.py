"""``pyproc resume``: let the processes of a paused container go on."""

from __future__ import annotations

from runtime.verbs import Verb, pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

VERB = Verb("resume", "Let the processes of paused containers go on.", "ID...", 1, None)


def run(args: Sequence[str]) -> int:
    """Resume them."""
    parsed = VERB.read(args)
    if parsed is not None:
        pause.change(parsed, freeze=False)
    return 0

"""``pyproc stop``: ask containers to end, and kill those that don't."""

from __future__ import annotations

import os

from runtime import listed
from runtime.command_line import Option
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime import state
    from runtime.command_line import Parsed

TIME = Option(("-t", "--timeout", "--time"), "Time to end in before it is killed (-1s: any)", "SECONDS", "grace")
SIGNAL = Option(("-s", "--signal"), "What asks it to end (the image's, else TERM)", "SIGNAL")
VERB = Verb(
    "stop", "Ask containers to end, and kill those that don't in time.", "ID...", 1, None, (SIGNAL, TIME, JSON)
)


def stop(parsed: Parsed, text: str) -> state.State:
    """Stop one, and return what it was; one that has ended stays so."""
    from runtime.lifecycle import ending, service

    root = parsed["root"]
    found = finding.get(parsed, text)
    signal, seconds = service.asked(found) or (parsed["signal"], parsed["time"])
    manner = ending.manner(found, signal, seconds)
    if unit := service.managed(found):
        service.stop(found, unit, signal, seconds)
    ending.stop(root, found, *manner)
    return found


def run(parsed: Parsed) -> int:
    """Stop each, and print its id."""
    for text in parsed.rest:
        os.write(1, listed.said(stop(parsed, text).id, as_json=parsed["json"]).encode())
    return 0

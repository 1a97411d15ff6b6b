"""``pyproc generate systemd``: the unit by which systemd starts a container, at boot and again."""

from __future__ import annotations

import sys

from runtime import places, state
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed

VERB = Verb(
    "generate",
    "Print the systemd unit of a container.",
    "systemd ID",
    2,
    2,
    (Option(("--restart-policy",), "When it is started again (what it was made with, else always)", "POLICY"), JSON),
)


def run(parsed: Parsed) -> int:
    """Print it."""
    if parsed.rest[0] != "systemd":
        raise RunError(f"generate {parsed.rest[0]!r}: unknown", "only systemd units can be generated")
    from runtime.lifecycle import again, ending, service

    found = finding.get(parsed, parsed.rest[1])
    again.kept(found)
    asked = parsed["restart_policy"] or found.annotations.get(state.RESTART, "always")
    text = service.unit(found, asked, ending.manner(found, None, None)[1], places.pyproc())
    if parsed["json"]:
        import json

        text = json.dumps({service.name(found): text}) + "\n"
    sys.stdout.write(text)
    return 0

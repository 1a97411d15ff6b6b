"""``pyproc inspect``: all that is known of containers, in the keys of Docker."""

from __future__ import annotations

import sys

from runtime import state
from runtime.command_line import Option
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.command_line import Parsed

FORMAT = Option(
    ("-f", "--format"),
    "Only some values: '{{.Key.Key}} {{json .Key}} {{range .Key}}{{.Key}} {{end}}'",
    "json|TEMPLATE",
    choices=("json",),
    open=True,
)
VERB = Verb(
    "inspect",
    "Show all that is known of containers, as JSON with Docker's keys.",
    "ID...",
    1,
    None,
    (FORMAT, JSON),
)


def show(parsed: Parsed, found: list[dict[str, Any]]) -> None:
    """Print a list as JSON, or a line for each by the template."""
    if parsed["format"] and parsed["format"] != "json":
        from runtime.template import compiled

        fill = compiled(parsed["format"])
        sys.stdout.write("".join(f"{fill(each)}\n" for each in found))
    else:
        import json

        sys.stdout.write(json.dumps(found, indent=None if parsed["json"] or parsed["format"] else 4) + "\n")


def run(parsed: Parsed) -> int:
    """Print a list, or a line for each by the template."""
    from runtime.lifecycle import inspect

    root = parsed["root"]
    containers = [finding.get(parsed, text) for text in parsed.rest]
    found = [inspect.describe(root, each, state.config(each)) for each in containers]
    show(parsed, found)
    return 0

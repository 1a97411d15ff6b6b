"""``pyproc inspect``: all that is known of containers, in the keys of Docker."""

from __future__ import annotations

import sys

from runtime import state
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import finding
from runtime.verbs import Verb
from runtime.verbs.pull import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runtime.command_line import Parsed

VERB = Verb(
    "inspect",
    "Show all that is known of containers, as JSON with Docker's keys.",
    "ID...",
    1,
    None,
    (
        Option(("-f", "--format"), "Only some values: '{{.State.Status}} {{json .Config.Env}}'", "TEMPLATE"),
        JSON,
    ),
)


def filled(template: str, value: dict[str, Any]) -> str:
    """Return a text with ``{{.Key.Key}}`` and ``{{json .Key}}`` replaced; raises an Error naming an unknown one."""
    import json

    parts = template.split("{{")
    text = parts[0]
    for part in parts[1:]:
        inner, closed, rest = part.partition("}}")
        as_json, _, path = inner.strip().rpartition(" ")
        found: Any = value
        if not closed or as_json.strip() not in ("", "json") or not path.startswith("."):
            raise RunError(f"--format {{{{{inner}}}}}: not understood", "write {{.Key.Key}} or {{json .Key}}")
        for key in filter(None, path.split(".")):
            if not isinstance(found, dict) or key not in found:
                there = f"there are {', '.join(found)}" if isinstance(found, dict) else "what is above it has none"
                raise RunError(f"--format {path}: no {key}", there)
            found = found[key]
        text += (found if isinstance(found, str) and not as_json else json.dumps(found)) + rest
    return text


def show(parsed: Parsed, found: list[dict[str, Any]]) -> None:
    """Print a list as JSON, or a line for each by the template."""
    if parsed["format"]:
        sys.stdout.write("".join(f"{filled(parsed['format'], each)}\n" for each in found))
    else:
        import json

        sys.stdout.write(json.dumps(found, indent=None if parsed["json"] else 4) + "\n")


def run(args: Sequence[str]) -> int:
    """Print a list, or a line for each by the template."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime.lifecycle import inspect

    root = parsed["root"]
    containers = [finding.get(parsed, text) for text in parsed.rest]
    found = [inspect.describe(root, each, state.config(each)) for each in containers]
    show(parsed, found)
    return 0

"""``pyproc volume``: directories that outlive containers."""

from __future__ import annotations

import os
import sys

from runtime import units, volumes
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.verbs import Group, Verb
from runtime.verbs.pull import JSON
from runtime.volumes import Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.command_line import Parsed

QUIET = Option(("-q", "--quiet"), "Show names only", kind="flag")
LABEL = Option(("--label",), "Note something about it", "NAME[=VALUE]", many=True)
COLUMNS = ("NAME", "CREATED", "USED BY", "LABELS")


def create(parsed: Parsed) -> None:
    """Make a volume unless it is there, and print its name."""
    name = parsed.rest[0] if parsed.rest else ""
    if name and not units.is_name(name):
        raise RunError(f"{name!r}: not a volume's name", units.NAME_HINT)
    labels = dict(text.partition("=")[::2] for text in parsed["label"])
    made = Volume(name or volumes.new_name(), anonymous=not name, labels=labels)
    volumes.create(parsed["storage"], made)
    _print(parsed, {"name": made.name}, made.name)


def ls(parsed: Parsed) -> None:
    """Print the table, the names or the JSON."""
    from runtime.verbs.list import table

    storage = parsed["storage"]
    if parsed["quiet"]:
        sys.stdout.write("".join(f"{name}\n" for name in volumes.names(storage)))
        return
    found = _described(storage, volumes.names(storage))
    _print(parsed, found, table(map(_row, found), COLUMNS).rstrip("\n"))


def _described(storage: str, names: Sequence[str]) -> list[dict[str, Any]]:
    used = volumes.uses(storage)
    return [volumes.describe(storage, name, used) for name in names]


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    labels = ",".join(f"{name}={value}" if value else name for name, value in found["labels"].items())
    return found["name"], found["created"][:19].replace("T", " "), ",".join(found["used_by"]), labels


def inspect(parsed: Parsed) -> None:
    """Print what is known of volumes, as JSON."""
    import json

    sys.stdout.write(json.dumps(_described(parsed["storage"], parsed.rest), indent=2) + "\n")


def rm(parsed: Parsed) -> None:
    """Remove volumes, all or none, and print their names."""
    wanted = list(parsed.rest)
    if parsed["force"]:
        wanted = [name for name in wanted if name in volumes.names(parsed["storage"])]
    volumes.remove(parsed["storage"], wanted)
    _print(parsed, wanted, "\n".join(wanted))


def prune(parsed: Parsed) -> None:
    """Remove volumes no container has, and print their names."""
    everything = parsed["all"]
    found = volumes.prune(parsed["storage"], lambda about: everything or about["anonymous"])
    _print(parsed, found, "\n".join(found))


def _print(parsed: Parsed, value: object, text: str) -> None:
    if parsed["json"]:
        import json

        text = json.dumps(value)
    os.write(1, f"{text}\n".encode() if text else b"")


VERBS = (
    (Verb("create", "Make a volume; without a NAME one is made up.", "[NAME]", 0, 1, (LABEL, JSON)), create),
    (Verb("inspect", "Show all that is known of volumes, as JSON.", "NAME...", 1, None), inspect),
    (Verb("ls", "List volumes.", "", 0, 0, (QUIET, JSON)), ls),
    (
        Verb(
            "prune",
            "Remove the anonymous volumes that no container has.",
            "",
            0,
            0,
            (Option(("-a", "--all"), "Those with a name, too", kind="flag"), JSON),
        ),
        prune,
    ),
    (
        Verb(
            "rm",
            "Remove volumes that no container has.",
            "NAME...",
            1,
            None,
            (Option(("-f", "--force"), "Accept that they are gone", kind="flag"), JSON),
        ),
        rm,
    ),
)
VERB = Group("volume", "Keep data that outlives containers.", tuple(verb for verb, _ in VERBS), mapped=True)


def run(args: Sequence[str]) -> int:
    """Do what the word after ``volume`` says."""
    chosen = VERB.read(args)
    if chosen is None:
        return 0
    verb, parsed = chosen
    for each, act in VERBS:
        if each.name == verb.name:
            act(parsed)
    return 0

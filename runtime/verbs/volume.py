"""``pyproc volume``: directories that outlive containers."""

from __future__ import annotations

import os

from runtime import listed, units, volumes
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.options import JSON
from runtime.verbs import Group, Verb, act
from runtime.verbs.inspect import FORMAT
from runtime.volumes import Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.command_line import Parsed
    from runtime.verbs import Chosen

LABEL = Option(("--label",), "Note something about it", "NAME[=VALUE]", many=True)
LISTING = listed.Listing(
    {
        "Name": "NAME", "CreatedAt": "CREATED", "UsedBy": "USED BY", "Labels": "LABELS", "Label": "",
        "Driver": "DRIVER", "Mountpoint": "MOUNTPOINT", "Scope": "SCOPE",
    },
    ("Name", "CreatedAt", "UsedBy", "Labels"),
    {
        "name": lambda found, value: value in found["name"],
        "label": lambda found, value: listed.labelled(found["labels"], value),
        "dangling": lambda found, value: (not found["used_by"]) == (value == "true"),
        "anonymous": lambda found, value: found["anonymous"] == (value == "true"),
        "driver": lambda _found, value: value == DRIVER,
    },
    {"name": lambda found: found["name"], "created": lambda found: found["created"]},
    dict.fromkeys(("dangling", "anonymous"), ("true", "false")),
)  # fmt: skip
DRIVER = "local"


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
    """Print the table, the names, the JSON or the template's lines."""
    asked, storage = LISTING.asked(parsed["filter"]), parsed["storage"]
    found = _described(storage, volumes.names(storage))
    LISTING.show(parsed, [each for each in found if LISTING.fits(each, asked)], row)


def _described(storage: str, names: Sequence[str]) -> list[dict[str, Any]]:
    used = volumes.uses(storage)
    return [volumes.describe(storage, name, used) for name in names]


def row(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a volume, as Docker has it."""
    return {
        "Name": found["name"],
        "CreatedAt": found["created"][:19].replace("T", " "),
        "UsedBy": ",".join(found["used_by"]),
        "Labels": listed.pairs(found["labels"]),
        "Label": found["labels"],
        "Driver": DRIVER,
        "Mountpoint": found["mountpoint"],
        "Scope": DRIVER,
    }


def inspect(parsed: Parsed) -> None:
    """Print what is known of volumes."""
    from runtime.verbs.inspect import show

    show(parsed, _described(parsed["storage"], parsed.rest))


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
    (Verb("inspect", "Show all that is known of volumes, as JSON.", "NAME...", 1, None, (FORMAT, JSON)), inspect),
    (Verb("ls", "List volumes.", "", 0, 0, (*LISTING.options(short="--filter"), JSON)), ls),
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


def run(chosen: Chosen) -> int:
    """Do what the word after ``volume`` says."""
    return act(chosen, VERBS)

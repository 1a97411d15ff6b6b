"""JSON wherever something is printed: every command has ``--json``, or a reason for having none."""

from __future__ import annotations

import inspect
from importlib import import_module

import click
import pytest

from lxcfs_py import cli
from runtime import options, verbs
from runtime.verbs import Group

NOTHING = "prints nothing"
ALWAYS = "prints JSON, whatever is asked"
OTHERS = "prints what a container, or another program, has written"
WITHOUT = {
    "attach": OTHERS,
    "cleanup": NOTHING,
    "cp": OTHERS,
    "create": NOTHING,
    "delete": NOTHING,
    "exec": OTHERS,
    "features": ALWAYS,
    "kill": NOTHING,
    "network connect": NOTHING,
    "network disconnect": NOTHING,
    "network reload": NOTHING,
    "pause": NOTHING,
    "rename": NOTHING,
    "resume": NOTHING,
    "run": OTHERS,
    "spec": NOTHING,
    "state": ALWAYS,
    "tag": NOTHING,
    "image tag": NOTHING,
    "update": NOTHING,
    "lxcfs-py hook": ALWAYS,
    "lxcfs-py nri": "is a plugin of an engine, and prints nothing but its log",
    "lxcfs-py runtime": OTHERS,
    "lxcfs-py serve": "prints nothing but its log, which --log-format json is for",
    "lxcfs-py show": "prints a file as it is served, byte for byte",
    "lxcfs-py umount": NOTHING,
}
"""Commands that have no ``--json``, and why."""
PRINTING = ("sys.stdout", "print(", "os.write(1", "click.echo")


def commands() -> dict[str, bool]:
    """Return all commands of all programs, and whether each has ``--json``."""
    found = {"pyproc-run": any("--json" in option.flags for option in options.RUN)}
    for name in verbs.VERBS:
        verb = import_module(f"runtime.verbs.{name}").VERB
        each = {f"{name} {sub.name}": sub for sub in verb.verbs} if isinstance(verb, Group) else {name: verb}
        found |= {key: any("--json" in option.flags for option in one.all_options) for key, one in each.items()}
    for name, command in cli.cli.commands.items():
        found[f"lxcfs-py {name}"] = any("--json" in parameter.opts for parameter in command.params)
    return found


def test_every_command_has_json_or_a_reason() -> None:
    """No command is forgotten, and no reason stays where there is no need for it."""
    assert {name for name, has in commands().items() if not has} == set(WITHOUT)


@pytest.mark.parametrize("name", sorted(name for name, why in WITHOUT.items() if why == NOTHING))
def test_what_prints_nothing(name: str) -> None:
    """Its source has nothing that prints."""
    program, _, sub = name.rpartition(" ")
    if program == "lxcfs-py":
        command = cli.cli.commands[sub].callback
        assert isinstance(cli.cli.commands[sub], click.Command) and command is not None
        source = inspect.getsource(command)
    elif program == "network":
        source = inspect.getsource(getattr(import_module("runtime.verbs.network"), sub))
    else:
        source = inspect.getsource(import_module(f"runtime.verbs.{sub}"))
    assert not [text for text in PRINTING if text in source]

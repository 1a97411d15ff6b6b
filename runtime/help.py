"""``--help`` and completion, by click, from the lists of ``runtime.options`` and ``runtime.verbs``.

Imported only when somebody asks: click takes longer to import than a container to start.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from runtime import options, state, verbs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.command_line import Option
    from runtime.verbs import Group, Verb

RUN_SUMMARY = "Start a container whose /proc tells the truth about its limits."
SUMMARY = "Look after the containers that pyproc-run has started."


def _option(option: Option) -> click.Option:
    text = option.help + (f" (default: {option.default})" if option.default else "")
    if option.kind == "flag":
        return click.Option(option.flags, is_flag=True, help=text)
    kind = click.Choice(option.choices) if option.choices else None
    images: Any = _images if option.metavar == "IMAGE" else None
    return click.Option(
        option.flags, metavar=option.metavar, multiple=option.many, help=text, type=kind, shell_complete=images
    )


def _place(context: click.Context, option: Option) -> str:
    """Return a directory as the line that is being typed, or the default, says."""
    known = [each.params.get(option.name) for each in (context, context.parent) if each is not None]
    return next(filter(None, known), None) or (option.otherwise() if option.otherwise else option.default)


def _ids(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the containers an id could become, for completion."""
    try:
        return [id_ for id_ in state.ids(_place(context, options.ROOT)) if id_.startswith(begun)]
    except Exception:  # noqa: BLE001  (completion never disturbs the line that is being typed)
        return []


def _images(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the images a name could become."""
    from runtime.images import catalog, reference
    from runtime.images.store import Store

    try:
        names = [catalog.name(entry) for entry in Store(_place(context, options.STORAGE)).entries()]
        short = [f"{found.familiar}:{found.tag}" for found in map(reference.parse, filter(None, names))]
        return [name for name in sorted({*short, *names}) if name and name.startswith(begun)]
    except Exception:  # noqa: BLE001
        return []


COMPLETING: dict[str, Any] = {"ID": _ids, "[ID": _ids, "systemd ID": _ids, "IMAGE": _images, "[IMAGE": _images}
"""What operands are completed to, by how they begin."""


def _completing(operands: str) -> Any:
    return next((find for start, find in COMPLETING.items() if operands.startswith(start)), None)


def command(name: str, operands: str, summary: str, known: Iterable[Option]) -> click.Command:
    """Return the click command of a list of options; it has help and completion, and runs nothing."""
    operand = click.Argument(
        ["operands"], nargs=-1, metavar=operands, type=click.UNPROCESSED, shell_complete=_completing(operands)
    )
    return click.Command(
        name,
        params=[operand, *map(_option, known)],
        help=summary,
        add_help_option=False,  # --help is in the list, -h is the host name
        options_metavar="[OPTIONS]" if operands != options.RUN_USAGE else "",
        context_settings={"allow_interspersed_args": False},
    )


def run_command() -> click.Command:
    """Return ``pyproc-run``."""
    return command("pyproc-run", options.RUN_USAGE, RUN_SUMMARY, options.RUN)


def group() -> click.Group:
    """Return ``pyproc`` with all its verbs."""
    found = click.Group(
        "pyproc",
        help=SUMMARY,
        add_help_option=False,
        params=[*map(_option, (*options.COMMON, options.VERSION))],
    )
    for name in verbs.VERBS:
        found.add_command(_verb(import_module(f"runtime.verbs.{name}").VERB))
    return found


def _verb(verb: Verb | Group) -> click.Command:
    if isinstance(verb, verbs.Group):
        below = [_verb(each) for each in verb.verbs]
        return click.Group(verb.name, below, help=verb.summary, add_help_option=False)
    return command(verb.name, verb.operands, verb.summary, verb.all_options)


def _print(found: click.Command, program: str) -> None:
    with click.Context(found, info_name=program, max_content_width=100) as context:
        click.echo(found.get_help(context))


def show(program: str, operands: str, summary: str, known: Iterable[Option]) -> None:
    """Print the help of one command."""
    _print(command(program, operands, summary, known), program)


def show_sub(verb: Group) -> None:
    """Print the help of a verb that is followed by another word."""
    _print(_verb(verb), f"pyproc {verb.name}")


def show_run() -> None:
    """Print the help of ``pyproc-run``."""
    _print(run_command(), "pyproc-run")


def show_group() -> None:
    """Print the help of ``pyproc``."""
    _print(group(), "pyproc")


def complete(program: str) -> int | None:
    """Serve a shell that completes a line or asks for its completion script; None if none does.

    A shell asks by ``_PYPROC_RUN_COMPLETE`` (``_PYPROC_COMPLETE``) in the environment, as click's
    documentation of shell completion says: ``eval "$(_PYPROC_COMPLETE=bash_source pyproc)"``.
    """
    from click.shell_completion import shell_complete

    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    instruction = os.environ.get(variable)
    if not instruction:
        return None
    found = run_command() if program == "pyproc-run" else group()
    return shell_complete(found, {}, program, variable, instruction)

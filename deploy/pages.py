#!/usr/bin/env python3
"""``deploy/pages.py DIRECTORY``: write man pages and completions below it, from the lists that make ``--help``.

Each program has one page with all its commands. (click-man, the ready-made tool, writes a page for each command, and
knows only programs that are entry points, which those of ``deploy/bin`` are not.)
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from lxcfs_py import __version__, cli
from runtime import help  # noqa: A004  (named after what it is for)

PROGRAMS = {"lxcfs-py": cli.cli, "pyproc": help.group(), "pyproc-run": help.run_command()}
COMPLETIONS = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}
"""Where below ``share`` each shell looks for a program's completions."""


def roff(text: str) -> str:
    """Return a text as troff shows it, whatever it holds: see groff_char(7) and "Control lines" in roff(7)."""
    text = re.sub(r"\s+", " ", text).strip().replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def _usage(context: click.Context) -> str:
    pieces = context.command.collect_usage_pieces(context)
    return f".B {roff(context.command_path)}\n{roff(' '.join(filter(None, pieces)))}\n"


def _options(context: click.Context) -> list[str]:
    options = (found for found in context.command.get_params(context) if isinstance(found, click.Option))
    records = (option.get_help_record(context) for option in options)
    return [f".TP\n.B {roff(flags)}\n{roff(about)}\n" for flags, about in filter(None, records)]


def _commands(group: click.Group, context: click.Context) -> list[str]:
    """Return the section of each command, and of those below it."""
    parts = []
    for name, command in sorted(group.commands.items()):
        below = click.Context(command, info_name=name, parent=context)
        title = below.command_path.partition(" ")[2]
        parts += [f".SS {roff(title)}\n", _usage(below), f".PP\n{roff(command.help or '')}\n", *_options(below)]
        parts += _commands(command, below) if isinstance(command, click.Group) else []
    return parts


def page(name: str, command: click.Command) -> str:
    """Return a program's man page."""
    context = click.Context(command, info_name=name, **command.context_settings)
    summary = (command.help or "").rstrip(".")
    parts = [
        f'.TH {name.upper()} 8 "" "lxcfs-py {__version__}" "lxcfs-py"\n',
        f".SH NAME\n{roff(name)} \\- {roff(summary)}\n",
        ".SH SYNOPSIS\n",
        _usage(context),
        ".SH OPTIONS\n",
        *_options(context),
    ]
    if isinstance(command, click.Group):
        parts += [".SH COMMANDS\n", *_commands(command, context)]
    others = " ,\n".join(f".BR {roff(other)} (8)" for other in PROGRAMS if other != name)
    return "".join([*parts, ".SH SEE ALSO\n", others, "\n"])


def completion(name: str, command: click.Command, shell: str) -> str:
    """Return a program's completion script for a shell."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(command, {}, name, f"_{name.replace('-', '_').upper()}_COMPLETE").source()


def write(directory: Path) -> None:
    """Write all of them."""
    texts = {f"man/man8/{name}.8": page(name, command) for name, command in PROGRAMS.items()}
    for shell, where in COMPLETIONS.items():
        texts |= {where.format(name): completion(name, command, shell) for name, command in PROGRAMS.items()}
    for path, text in texts.items():
        at = directory / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

"""The verbs of ``pyproc``, one module each: ``VERB`` describes and reads its command line, ``run`` does it.

``run`` is called with what ``VERB.read`` has made of the options before the verb and what comes after it. It returns
the exit code, and what it raises as an Error is printed by ``runtime.cli``.
"""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from runtime import command_line, options
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from runtime.command_line import Option, Parsed

    Chosen: TypeAlias = "tuple[Verb, Parsed]"

VERBS = (
    "attach", "cleanup", "commit", "cp", "create", "delete", "diff", "events", "exec", "export", "features",
    "generate", "history", "image", "images", "import", "info", "inspect", "kill", "list", "logs", "network", "pause",
    "port", "prune", "ps", "pull", "push", "rename", "restart", "resume", "rmi", "run", "spec", "start", "state",
    "stats", "stop", "system", "tag", "top", "update", "volume", "wait",
)  # fmt: skip
ALIASES = {"load": "import", "ls": "list", "rm": "delete", "save": "export", "unpause": "resume"}


class Verb(Record):
    """What a verb is called, takes and understands."""

    name: str
    summary: str
    operands: str
    """As usage shows them: ``ID``, ``ID [SIGNAL]``, ``ID...``."""
    least: int
    most: int | None
    """How many operands it takes; None: as many as there are."""
    options: tuple[Option, ...] = ()
    interspersed: bool = True
    """Whether options may follow operands; not where what follows is somebody else's command line."""
    mapped: bool = False
    """Whether it works on files that belong to ids of containers: a user's are in a user namespace alone."""

    @property
    def usage(self) -> str:
        """The usage line after the program's name."""
        return f"{self.name} [OPTIONS] {self.operands}".rstrip()

    @property
    def all_options(self) -> tuple[Option, ...]:
        """Its own options and those every verb has."""
        return (*self.options, *options.COMMON)

    def read(self, args: Sequence[str]) -> Parsed | None:
        """Read its command line; None where help was asked for, and has been shown."""
        parsed = command_line.read(f"pyproc {self.name}", self.all_options, args, interspersed=self.interspersed)
        if not self.interspersed and parsed.rest[1:2] == ("--",):  # ID -- COMMAND
            parsed = parsed.replace(rest=(parsed.rest[0], *parsed.rest[2:]))
        if parsed["help"]:
            from runtime import help  # noqa: A004  (named after what it is for)

            help.show(f"pyproc {self.name}", self.operands, self.summary, self.all_options)
            return None
        if len(parsed.rest) < self.least or (self.most is not None and len(parsed.rest) > self.most):
            few = len(parsed.rest) < self.least
            what = "something is missing" if few else f"{parsed.rest[-1]!r} is one too many"
            raise RunError(f"{self.name}: {what}", f"usage: pyproc {self.usage}")
        places = {"root": os.path.abspath(parsed["root"]), "storage": os.path.abspath(parsed["storage"])}
        return parsed.replace(values={**parsed.values, **places})


class Group(Record):
    """A verb that is followed by another word: ``volume ls``."""

    name: str
    summary: str
    verbs: tuple[Verb, ...]
    """By the second word."""
    mapped: bool = False
    """As of a ``Verb``."""

    @property
    def words(self) -> str:
        """The second words, as usage shows them."""
        return "|".join(verb.name for verb in self.verbs)

    def read(self, args: Sequence[str]) -> Chosen | None:
        """Return which it is and its command line; None where help was asked for, and has been shown."""
        before, name, after = options.split(args)
        found = next((verb for verb in self.verbs if verb.name == name), None)
        if found is None and "--help" in before:
            from runtime import help  # noqa: A004  (named after what it is for)

            help.show_sub(self)
            return None
        if found is None:
            what = f"unknown command {name!r}" if name else "a word is missing"
            raise RunError(f"{self.name}: {what}", f"usage: pyproc {self.name} {self.words} [OPTIONS]")
        parsed = found.replace(name=f"{self.name} {name}").read((*before, *after))
        return None if parsed is None else (found, parsed)


def act(chosen: Chosen, acts: Iterable[tuple[Verb, Callable[[Parsed], None]]]) -> int:
    """Do what a group's second word says; each verb comes with what does it."""
    verb, parsed = chosen
    next(do for each, do in acts if each.name == verb.name)(parsed)
    return 0


def resolve(name: str) -> str:
    """Return the verb of a name or alias; raises an Error that names the nearest one."""
    verb = ALIASES.get(name, name)
    if verb in VERBS:
        return verb
    from runtime import foreign

    if remedy := foreign.VERBS.get(name):
        raise RunError(f"{name!r} is a command that pyproc does not have", remedy)
    from difflib import get_close_matches

    close = get_close_matches(name, [*VERBS, *ALIASES], n=1)
    raise RunError(
        f"unknown command {name!r}" if name else "no command given",
        f"did you mean {close[0]}?" if close else f"the commands are {', '.join(VERBS)}; or see pyproc --help",
    )

"""Reads a command line by a list of options: a small reader, for it serves every start."""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime import units
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any


class Option(Record):
    """One option. ``kind`` is ``flag`` or a key of ``units.KINDS``; a ``many`` option may be repeated."""

    flags: tuple[str, ...]
    """Its spellings; the last one, long, names it."""
    help: str
    metavar: str = ""
    kind: str = "text"
    many: bool = False
    choices: tuple[str, ...] = ()
    default: str = ""
    otherwise: Callable[[], str] | None = None
    """What it is if it isn't given, where that depends on who asks; ``help`` says it."""
    open: bool = False
    """Other values than the ``choices`` will do, too: these are what completion knows."""

    @property
    def name(self) -> str:
        """The key of its value: ``--cpu-shares`` is ``cpu_shares``."""
        return self.flags[-1][2:].replace("-", "_")

    def value(self, text: str, flag: str) -> Any:
        """Return what the text means; raises an Error naming the flag, the text and the remedy."""
        if self.choices and not self.open and text not in self.choices:
            raise RunError(f"{flag} {text!r}: unknown value", f"choose from {', '.join(self.choices)}")
        return units.KINDS[self.kind](text, flag)


class Parsed(Record):
    """What a command line said: a value for every option of the list, and the operands."""

    values: Mapping[str, Any]
    rest: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def defaults(options: Iterable[Option]) -> dict[str, Any]:
    """Return what holds when nothing is said: False, () where repeatable, else the default or None."""
    return {
        option.name: False if option.kind == "flag" else () if option.many else option.default or None
        for option in options
    }


def read(program: str, options: Sequence[Option], argv: Sequence[str], *, interspersed: bool = False) -> Parsed:
    """Read a command line as Docker does: ``-it``, ``-m256m``, ``--memory=256m``, ``--``.

    The first operand ends the options unless they may be ``interspersed``. ``--help`` and ``--version`` end
    the reading. Raises an Error for what is not in the list, lacks its value or has a bad one.
    """
    known = {flag: option for option in options for flag in option.flags}
    values = defaults(options)
    operands: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            operands += rest
            break
        if len(word) < 2 or word[0] != "-":
            operands.append(word)
            if interspersed:
                continue
            operands += rest
            break
        if _take(program, known, word, rest, values) in ("help", "version"):
            break
    for option in options:
        if option.otherwise is not None and values[option.name] is None:
            values[option.name] = option.otherwise()
    return Parsed(values, tuple(operands))


def _take(program: str, known: Mapping[str, Option], word: str, rest: list[str], values: dict[str, Any]) -> str:
    """Enter one word (and its value, from ``rest``) into ``values``; return the last option's name."""
    if word.startswith("--"):
        flag, equals, text = word.partition("=")
        return _enter(program, known, flag, text if equals else None, rest, values)
    letters = word[1:]
    while True:  # a cluster: flags, and at its end perhaps an option with its value
        flag, letters = "-" + letters[0], letters[1:]
        option = known.get(flag)
        if option is None or option.kind != "flag":
            return _enter(program, known, flag, letters.removeprefix("=") if letters else None, rest, values)
        name = _enter(program, known, flag, None, rest, values)
        if not letters:
            return name


def _enter(
    program: str,
    known: Mapping[str, Option],
    flag: str,
    text: str | None,
    rest: list[str],
    values: dict[str, Any],
) -> str:
    option = known.get(flag)
    if option is None:
        raise _unknown(program, flag, known)
    name = option.name
    if option.kind == "flag":
        values[name] = True if text is None else units.boolean(text, flag)
        return name
    if text is None:
        if not rest:
            raise RunError(f"{flag} needs a value", f"write {flag} {option.metavar}")
        text = rest.pop(0)
    value = option.value(text, flag)
    values[name] = (*values[name], value) if option.many else value
    return name


def _unknown(program: str, flag: str, known: Iterable[str]) -> RunError:
    """Return what to say of an option that does not exist (off the usual path, so imports may cost)."""
    if program == "pyproc-run":
        from runtime import foreign

        if remedy := foreign.OPTIONS.get(flag):
            return RunError(f"{flag} is an option that pyproc-run does not have", remedy)
    from difflib import get_close_matches

    close = get_close_matches(flag, [name for name in known if name.startswith("--")], n=1, cutoff=0.7)
    return RunError(
        f"unknown option {flag}", f"did you mean {close[0]}?" if close else f"{program} --help lists them"
    )

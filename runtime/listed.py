"""What lists have in common: filters, order, and how they are written: a table, ids, JSON, or by a template.

A verb declares a ``Listing``; its options, their help, and what they do come from that.
"""

from __future__ import annotations

import sys

from lxcfs_py.record import Record
from runtime.command_line import Option
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from runtime.command_line import Parsed

    Found = Mapping[str, Any]
    Asked = Sequence[tuple[str, str]]

FORMAT = Option(
    ("--format",), "How to write them: '{{.Key}} {{.Key}}' or 'table {{.Key}}', too", "table|json|TEMPLATE",
    choices=("table", "json"), open=True,
)  # fmt: skip
NO_TRUNC = Option(("--no-trunc",), "Cut nothing short", kind="flag")
JSON, TABLE = "json", "table"


class Listing(Record):
    """One kind of list."""

    headings: Mapping[str, str]
    """What a template can name, and the heading above it in a table; "" above what has further keys, as labels."""
    usual: tuple[str, ...]
    """What the table shows unless a template says so."""
    tests: Mapping[str, Callable[[Any, str], bool]] = {}
    """What can be asked for with --filter, by key."""
    orders: Mapping[str, Callable[[Any], Any]] = {}
    """What --sort can go by."""
    words: Mapping[str, tuple[str, ...]] = {}
    """The values a filter can have, where they are few."""
    named: str = "Name"
    """What --quiet shows."""
    what: str = "names"
    """How people call that."""

    def options(self, *, short: str = "--format") -> tuple[Option, ...]:
        """Return its options; ``short`` is the one that is ``-f``, too."""

        def flags(name: str) -> tuple[str, ...]:
            return ("-f", name) if name == short else (name,)

        return (
            Option(("-q", "--quiet"), f"Show {self.what} only", kind="flag"),
            FORMAT.replace(flags=flags("--format")),
            Option(flags("--filter"), f"Only those with {', '.join(self.tests)}", "KEY=VALUE", many=True),
            Option(("--sort",), "Order them", "|".join(self.orders), choices=tuple(self.orders)),
            NO_TRUNC,
        )  # fmt: skip

    def asked(self, texts: Iterable[str]) -> Asked:
        """Return the filters as pairs; raises an Error for an unknown one."""
        return filters(texts, self.tests, self.words)

    def fits(self, found: Found, asked: Asked) -> bool:
        """Say whether something is asked for (``fits``)."""
        return fits(found, asked, self.tests)

    def show(self, parsed: Parsed, found: Iterable[Found], row: Callable[[Found], Found]) -> None:
        """Print a list; ``row`` returns what a template sees of each."""
        order = self.orders.get(parsed["sort"])
        kept = sorted(found, key=order) if order is not None else list(found)
        sys.stdout.write(self.text(parsed, kept, row))

    def text(self, parsed: Parsed, found: Sequence[Found], row: Callable[[Found], Found]) -> str:
        """Return what is printed."""
        if parsed["quiet"]:
            ids = list(dict.fromkeys(row(each)[self.named] for each in found))
            return _json(ids) if parsed["json"] else "".join(f"{each}\n" for each in ids)
        return self.written(JSON if parsed["json"] else parsed["format"] or TABLE, found, row)

    def written(self, how: str, found: Sequence[Found], row: Callable[[Found], Found]) -> str:
        """Return a list as ``--format`` says."""
        if how == JSON:
            return _json([plain(each) for each in found])
        if how == TABLE:
            return table(
                ([row(each)[key] for key in self.usual] for each in found), map(self.headings.get, self.usual)
            )
        if "{{" not in how:
            raise RunError(
                f"--format {how!r}: unknown", f"choose table or json, or write a template as '{{{{.{self.named}}}}}'"
            )
        from runtime.template import compiled

        with_heading = how.startswith(f"{TABLE} ")
        fill = compiled(how.removeprefix(f"{TABLE} ").replace("\\t", "\t").replace("\\n", "\n"))
        lines = [fill(row(each)) for each in found]
        if not with_heading:
            return "".join(f"{line}\n" for line in lines)
        heading = fill({key: text or _Keys() for key, text in self.headings.items()})
        return table((line.split("\t") for line in lines), heading.split("\t"))


class Lazy(dict[str, "Callable[[], Any]"]):
    """What is worked out when it is asked for: by functions."""

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key)()

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]  # a list is enough for json
        """Return all of it, for json."""
        return [(key, self[key]) for key in self]


class _Keys(dict[str, str]):
    """Stands above what has further keys: each is its own heading."""

    def __missing__(self, key: str) -> str:
        return key


def filters(
    texts: Iterable[str], tests: Mapping[str, Any], words: Mapping[str, Sequence[str]] = {}
) -> list[tuple[str, str]]:
    """Return filters as pairs of key and value; raises an Error for an unknown one."""
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if key not in tests or not equals:
            raise RunError(f"--filter {text!r}: unknown", f"write KEY=VALUE; the keys are {', '.join(tests)}")
        if key in words and value not in words[key]:
            raise RunError(f"--filter {text!r}: no such {key}", f"choose from {', '.join(words[key])}")
        found.append((key, value))
    return found


def fits(found: Any, asked: Asked, tests: Mapping[str, Callable[[Any, str], bool]]) -> bool:
    """Say whether something is asked for: as with Docker all labels must fit, and one value of each other key."""
    keys = dict.fromkeys(key for key, _ in asked)
    return all(
        (all if key == "label" else any)(tests[key](found, value) for other, value in asked if other == key)
        for key in keys
    )


def labelled(labels: Mapping[str, str], value: str) -> bool:
    """Say whether there is a label ``NAME`` or ``NAME=VALUE``."""
    key, equals, wanted = value.partition("=")
    there = labels.get(key)
    return there is not None and (not equals or there == wanted)


def pairs(labels: Mapping[str, str]) -> str:
    """Return labels as they are shown."""
    return ",".join(f"{name}={value}" if value else name for name, value in labels.items())


def said(id_: str, *, as_json: bool) -> str:
    """Return the line that names what something was done to."""
    from lxcfs_py import json_text

    return json_text.dumps({"id": id_}).decode() + "\n" if as_json else f"{id_}\n"


def plain(found: Found) -> dict[str, Any]:
    """Return it as it is printed: what begins with a ``_`` is for the filters."""
    return {key: value for key, value in found.items() if not key.startswith("_")}


def table(rows: Iterable[Sequence[Any]], columns: Iterable[Any]) -> str:
    """Return rows under their heading, columns aligned; what a terminal would obey is a ``?``."""
    lines = [[_printable(str(cell)) for cell in line] for line in (tuple(columns), *rows)]
    widths = [max(len(line[at]) for line in lines if at < len(line)) for at in range(max(map(len, lines)))]
    padded = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "".join(f"{line}\n" for line in padded)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def _json(value: object) -> str:
    import json

    return json.dumps(value) + "\n"

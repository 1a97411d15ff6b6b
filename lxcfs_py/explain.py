"""What each line of a served file says, what the host's says, and the kernel files it came from.

Nothing is worked out anew: the text is the view's own, made while every file it reads is recorded. Where the least
of several values counts, the ones that decided are those without which the line would be another: they are hidden
from the view one by one.
"""

from __future__ import annotations

import errno
import fnmatch
import itertools
import os
import re
import textwrap
from typing import TYPE_CHECKING, Any

from lxcfs_py.files import Files
from lxcfs_py.procfs import pid_stat
from lxcfs_py.record import Record
from lxcfs_py.rule import Rule
from lxcfs_py.views import VIEWS, directory, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

    Rows = Callable[[bytes, Sequence[int]], dict[str, str]]

PASSED = "the host's"
UNKNOWN = "no cgroup here accounts for it"
KB = " kB"
SHOWN = 24
"""How much of a long value the table shows."""


class Recorder(Files):
    """Reads each file once, remembers it, and leaves out what is hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, bytes | None] = {}
        """What was read; None for what could not be."""
        self.asked: list[str] = []
        self.hidden: frozenset[str] = frozenset()

    def read(self, path: str) -> bytes:
        """See ``Files.read``."""
        self.asked.append(path)
        if path not in self.texts:
            try:
                self.texts[path] = super().read(path)
            except OSError:
                self.texts[path] = None
                raise
        found = None if path in self.hidden else self.texts[path]
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    read_one = read


class Source(Record):
    """A kernel file, or one line of it, and what it held."""

    path: str
    key: str
    value: str | None
    """None for a text of several lines."""


class Line(Record):
    """One line; ``host`` is None where the host has no such line."""

    line: str
    served: str
    host: str | None
    unit: str
    formula: str
    sources: tuple[Source, ...]


def rows(text: bytes, _cpus: Sequence[int]) -> dict[str, str]:
    """Return what the lines of any text say: ``Name: value``, ``name value...``, or by number."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        name, colon, value = line.partition(":")
        if not (colon and name[:1].isalpha()):
            match = re.match(r"\s*((?:\d+\s+){0,2}[A-Za-z_]\S*)\s+(.*)", line)
            name, value = match.groups() if match else (f"line {number}", line)
        name = name.strip()
        found[f"{name} ({number})" if name in found else name] = value.strip()
    return found


def value(text: bytes, key: str) -> str | None:
    """Return what a kernel file says, in the line that begins with ``key``; None if there is none."""
    if key == "starttime":  # field 22 of /proc/PID/stat
        process = pid_stat.parse(text)
        return str(process.start_ticks) if process else None
    words = text.decode("utf-8", "replace").strip()
    if not key:
        return None if "\n" in words else words
    for line in words.split("\n"):
        if line.startswith((f"{key}:", f"{key} ")):
            return line[len(key) + 1 :].strip()
    return None


def _manner(path: str) -> tuple[Mapping[str, Rule], Rows]:
    """Return the rules of a file's lines, if there are any, and what takes its text apart."""
    below = directory(path)
    if below is None:
        return getattr(VIEWS[path], "LINES", {}), getattr(VIEWS[path], "rows", rows)
    name = path.rpartition("/")[2]

    def one(text: bytes, cpus: Sequence[int]) -> dict[str, str]:
        words = text.decode("utf-8", "replace").strip()
        return rows(text, cpus) if "\n" in words else {name: words}

    return below.rules(path), one


class Explainer:
    """Explains one file of one container."""

    def __init__(self, reader: Reader, recorder: Recorder, path: str, container: Container) -> None:
        self._reader, self._recorder, self._path, self._container = reader, recorder, path, container
        self._rules, self._rows = _manner(path)
        self._cpus = reader.cpus(container)
        recorder.asked.clear()
        self._served = self._read()
        if any(rule.sampled for rule in self._rules.values()):  # of whom the daemon takes samples, the view reads not
            reader.cgroups.threads(container.cgroup)
        self._files = [path for path in dict.fromkeys(recorder.asked) if recorder.texts[path] is not None]
        self._host = self._rows(reader.host_bytes(path), self._cpus)
        self._without: dict[frozenset[str], dict[str, str]] = {}

    def _read(self) -> dict[str, str]:
        return self._rows(read(self._reader, self._container, self._path), range(len(self._cpus)))

    def lines(self) -> tuple[Line, ...]:
        """Return all lines that are served."""
        return tuple(self._line(name, served) for name, served in self._served.items())

    def _line(self, name: str, served: str) -> Line:
        rule = next((rule for pattern, rule in self._rules.items() if fnmatch.fnmatchcase(name, pattern)), None)
        host = self._host.get(name)
        if rule is None and self._rules:
            rule = Rule(PASSED, host=(f"{self._path}:LINE",))
        if rule is None:
            return line(name, served, host, "", "", tuple(self._source(path, "") for path in self._files))
        sources = tuple(self._sources(rule, name))
        none = (rule.v1 or rule.v2) and not sources and not rule.sampled
        formula = f"{rule.formula}; {UNKNOWN}" if none else rule.formula
        return line(name, served, host, rule.unit, formula, sources)

    def _source(self, path: str, key: str) -> Source:
        return Source(path, key, value(self._recorder.texts[path] or b"", key))

    def _version(self, path: str) -> int:
        """Return the version of the hierarchy that a file is of, 0 for none."""
        hierarchies = self._reader.cgroups.layout.hierarchies.values()
        return next((h.version for h in hierarchies if path.startswith(h.mount + "/")), 0)

    def _of_cgroups(self, rule: Rule, name: str) -> list[Source]:
        """Return the lines of cgroup files that a rule names, of every level that was read, nearest first."""
        found = []
        for path in self._files:
            specs = {1: rule.v1, 2: rule.v2}.get(self._version(path), ())
            for file, _, key in (spec.partition(":") for spec in specs):
                if fnmatch.fnmatchcase(path.rpartition("/")[2], file):
                    source = self._source(path, name if key == "LINE" else key)
                    found += [source] if source.value is not None or not key else []
        return found

    def _sources(self, rule: Rule, name: str) -> Iterable[Source]:
        found = self._of_cgroups(rule, name)
        if not rule.least:
            nearest: dict[tuple[str, str], Source] = {}
            for source in found:
                nearest.setdefault((source.path.rpartition("/")[2], source.key), source)
            return [*nearest.values(), *self._of_host(rule.host, name)]
        paths = {source.path for source in found}
        decided = {path for path in paths if self._changes(name, {path})}
        if not decided and self._changes(name, paths):  # several say the same
            decided = paths
        if decided:
            return [source for source in found if source.path in decided]
        return self._of_host(rule.host or (f"{self._path}:LINE",), name)

    def _changes(self, name: str, hidden: Iterable[str]) -> bool:
        """Say whether a line would be another without these files."""
        key = frozenset(hidden)
        if key not in self._without:
            self._recorder.hidden = key
            try:
                self._without[key] = self._read()
            finally:
                self._recorder.hidden = frozenset()
        return self._without[key].get(name) != self._served[name]

    def _of_host(self, specs: Iterable[str], name: str) -> Iterable[Source]:
        for spec in specs:
            path, _, key = spec.partition(":")
            path = self._reader.host_path(path.replace("PID", str(self._container.init_pid)))
            key = name if key == "LINE" else key
            try:
                self._reader.files.read(path)
            except OSError:  # no such process, namespace or line on this host
                continue
            source = self._source(path, key)
            if source.value is not None or not key:
                yield source


def line(name: str, served: str, host: str | None, unit: str, formula: str, sources: tuple[Source, ...]) -> Line:
    """Return a line; a unit that its values end with is taken from them."""
    if served.endswith(KB):
        return Line(name, served.removesuffix(KB), host and host.removesuffix(KB), KB.strip(), formula, sources)
    return Line(name, served, host, unit, formula, sources)


def explain(reader: Reader, recorder: Recorder, path: str, container: Container | None) -> tuple[Line, ...]:
    """Return the lines of a file; ``recorder`` is what the reader reads by. Raises OSError."""
    if container is not None:
        return Explainer(reader, recorder, path, container).lines()
    said = _manner(path)[1](reader.host_bytes(path), ())
    source = (Source(reader.host_path(path), "", None),)
    return tuple(line(name, words, words, "", PASSED, source) for name, words in said.items())


def _number(text: str | None) -> int | float | str | None:
    """Return a number as one."""
    if text is None or not re.fullmatch(r"-?\d{1,18}(\.\d{1,6})?", text):
        return text
    return float(text) if "." in text else int(text)


def plain(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Return the lines as JSON has them."""
    found = []
    for each in lines:
        sources = [source.as_dict() | {"value": _number(source.value)} for source in each.sources]
        numbers = {"served": _number(each.served), "host": _number(each.host), "sources": sources}
        found.append(each.as_dict() | numbers)
    return found


def table(lines: Sequence[Line], columns: int) -> str:
    """Return the lines for people; formula and sources, indented, stand below the lines they are of."""
    head = ("line", "served", "host", "unit")
    cells = [(each.line, _short(each.served), _short(each.host or "-"), each.unit) for each in lines]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    found = [_row(head, widths)]
    for (formula, sources), group in itertools.groupby(
        zip(lines, cells, strict=True), lambda pair: (pair[0].formula, pair[0].sources)
    ):
        found += [_row(row, widths) for _, row in group]
        found += textwrap.wrap(formula, max(40, columns), initial_indent="    ", subsequent_indent="    ")
        for source in sources:
            key, said = source.key and f" {source.key}", "" if source.value is None else f" = {_short(source.value)}"
            found.append(f"    {source.path}{key}{said}")
    return "\n".join(found)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, served, host, unit = cells
    return f"{name:<{widths[0]}}  {served:>{widths[1]}}  {host:>{widths[2]}}  {unit}".rstrip()


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"

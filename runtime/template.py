"""The templates people write after --format: Go's (text/template), as far as Docker's documentation shows them.

Fields, variables, pipes, ``if``, ``range``, ``with`` and the functions below. A template becomes functions from what
it is filled with, and the variables, to text. What is no text is written as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runtime.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Scope = dict[str, Any]
    Expression = Callable[[Any, Scope], Any]
    Node = Callable[[Any, Scope], str]

ACTION = re.compile(r"\{\{(?:(-) )?(.*?)(?: (-))?\}\}", re.DOTALL)
WORD = re.compile(
    r"\s*("
    r'"(?:[^"\\]|\\.)*"|`[^`]*`'  # texts
    r"|-?\d+(?:\.\d+)?"
    r"|\$?\w*(?:\.\w+)+|\$\w*|\.|\w+"  # .Key.Key, $name.Key, function
    r"|\)(?:\.\w+)*|[|(])"
)
DECLARED = re.compile(r"(\$\w+)(?:\s*,\s*(\$\w+))?\s*:?=\s*(.*)", re.DOTALL)
VERB = re.compile(r"%([-+# 0]*\d*(?:\.\d+)?)(\D|$)")  # of printf
BLOCKS = ("if", "range", "with")
CONSTANTS = {"true": True, "false": False, "nil": None}


def shown(value: Any) -> str:
    """Return a value as it is written."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        try:
            value = value[key] if isinstance(value, Mapping) or isinstance(key, int) else value[int(key)]
        except KeyError:
            return ""
        except (IndexError, TypeError, ValueError):
            raise RunError(
                f"--format index {shown(value)} {shown(key)}: there is none", "look at it with json"
            ) from None
    return value


def _first(values: tuple[Any, ...], *, true: bool) -> Any:
    return next((value for value in values if bool(value) == true), values[-1])


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def one(found: re.Match[str]) -> str:
        flags, verb = found.groups()
        if verb == "%":
            return "%"
        value = left.pop(0)
        if verb in "qstv":  # else they are as Python has them
            verb, value = "s", json.dumps(shown(value), ensure_ascii=False) if verb == "q" else shown(value)
        return f"%{flags}{verb}" % (value,)

    text = VERB.sub(one, form)
    if left:
        raise TypeError(f"{len(left)} values too many")
    return text


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "index": _index,
    "len": len,
    "join": lambda values, by: by.join(map(shown, values)),
    "split": lambda text, by: text.split(by),
    "lower": lambda text: shown(text).lower(),
    "upper": lambda text: shown(text).upper(),
    "title": lambda text: shown(text).title(),
    "truncate": lambda text, length: shown(text)[:length],
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
    "print": lambda *values: "".join(map(shown, values)),
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "printf": _printf,
    "and": lambda *values: _first(values, true=False),
    "or": lambda *values: _first(values, true=True),
    "not": lambda value: not value,
    "eq": lambda value, *others: value in others,
    "ne": lambda one, other: one != other,
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
}


def _not_understood(text: str) -> RunError:
    return RunError(
        f"--format {{{{{text}}}}}: not understood", "write {{.Key.Key}}, {{json .Key}}, or as Docker has it"
    )


def _field(value: Any, path: list[str]) -> Any:
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            there = f"there are {', '.join(value)}" if isinstance(value, Mapping) else "what is above it has none"
            raise RunError(f"--format .{'.'.join(path)}: no {key}", there)
        value = value[key]
    return value


class _Action:
    """Reads what stands between ``{{`` and ``}}``."""

    def __init__(self, text: str) -> None:
        self.text, self.words, at = text, list[str](), 0
        while text[at:].strip():
            found = WORD.match(text, at)
            if found is None:
                raise _not_understood(text)
            self.words.append(found[1])
            at = found.end()

    def whole(self) -> Expression:
        """Return what all of it says."""
        found = self._pipeline()
        if self.words:
            raise _not_understood(self.text)
        return found

    def _pipeline(self) -> Expression:
        found = self._command(())
        while self.words[:1] == ["|"]:
            self.words.pop(0)
            found = self._command((found,))
        return found

    def _command(self, piped: tuple[Expression, ...]) -> Expression:
        """Return a function's call, or a value alone; ``.Label "x"`` is what is there under a key."""
        if not self.words:
            raise _not_understood(self.text)
        name = self.words[0]
        act = FUNCTIONS.get(name)
        if act is not None:
            self.words.pop(0)
        elif piped:
            raise _not_understood(self.text)
        arguments = []
        while self.words and self.words[0] != "|" and not self.words[0].startswith(")"):
            arguments.append(self._operand())
        arguments += piped
        if act is None:
            name, act = "index", _index
            if len(arguments) == 1:
                return arguments[0]
        return self._call(name, act, arguments)

    def _call(self, name: str, act: Callable[..., Any], arguments: list[Expression]) -> Expression:
        def call(dot: Any, scope: Scope) -> Any:
            values = [argument(dot, scope) for argument in arguments]
            try:
                return act(*values)
            except (TypeError, ValueError, AttributeError, IndexError, MemoryError, OverflowError) as error:
                why = str(error) or "too much"
                raise RunError(f"--format {{{{{self.text}}}}}: {name}: {why}", "see its values by json") from error

        return call

    def _operand(self) -> Expression:
        word = self.words.pop(0)
        if word[0] in '"`':
            text = word[1:-1] if word[0] == "`" else json.loads(word)
            return lambda _dot, _scope: text
        if word[0].isdigit() or word[0] == "-":
            number = float(word) if "." in word else int(word)
            return lambda _dot, _scope: number
        if word in CONSTANTS:
            return lambda _dot, _scope: CONSTANTS[word]
        if word == "(":
            inner = self._pipeline()
            if not self.words or not self.words[0].startswith(")"):
                raise _not_understood(self.text)
            path = self.words.pop(0).split(".")[1:]
            return lambda dot, scope: _field(inner(dot, scope), path)
        name, *path = word.split(".")
        path = [key for key in path if key]
        if word[0] == "$":
            return lambda _dot, scope: _field(_variable(scope, name), path)
        if word[0] == ".":
            return lambda dot, _scope: _field(dot, path)
        raise _not_understood(self.text)


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope:
        raise RunError(f"--format: no variable {name}", f"there are {', '.join(scope)}")
    return scope[name]


def _declared(text: str) -> tuple[list[str], Expression]:
    """Return the variables that are set, and what to."""
    found = DECLARED.fullmatch(text)
    names = [name for name in found.groups()[:2] if name] if found else []
    return names, _Action(found[3] if found else text).whole()


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return iter(sorted(value.items()))
    return enumerate(value if isinstance(value, list | tuple) else range(value) if isinstance(value, int) else ())


def _block(word: str, rest: str, parts: Iterator[tuple[str, str]]) -> Node:
    names, value = _declared(rest)
    body, closing = _body(parts)
    otherwise: Node = _literal("")
    if closing.startswith("else "):
        inner, _, condition = closing.removeprefix("else ").strip().partition(" ")
        otherwise, closing = _block(inner, condition, parts), "end"
    elif closing == "else":
        otherwise, closing = _body(parts)
    if closing != "end" or word not in BLOCKS:
        raise RunError(f"--format {{{{{word} {rest}}}}}: has no end", "write {{end}} after it")

    def fill(dot: Any, scope: Scope) -> str:
        found = value(dot, scope)
        if not found:
            return otherwise(dot, scope)
        if word == "if":
            return body(dot, {**scope, **dict.fromkeys(names, found)})
        if word == "with":
            return body(found, {**scope, **dict.fromkeys(names, found)})
        return "".join(
            body(each, {**scope, **dict(zip(names[::-1], (each, key), strict=False))}) for key, each in _items(found)
        )

    return fill


def _literal(text: str) -> Node:
    return lambda _dot, _scope: text


def _action(text: str) -> Node:
    names, value = _declared(text)

    def fill(dot: Any, scope: Scope) -> str:
        found = value(dot, scope)
        scope.update(dict.fromkeys(names, found))
        return "" if names else shown(found)

    return fill


def _body(parts: Iterator[tuple[str, str]]) -> tuple[Node, str]:
    """Return what there is up to an ``end`` or ``else``, and that; "" where the template ends."""
    nodes: list[Node] = []
    closing = ""
    for text, action in parts:
        nodes.append(_literal(text))
        word, _, rest = action.partition(" ")
        if word in ("end", "else"):
            closing = action
            break
        if word in BLOCKS:
            nodes.append(_block(word, rest, parts))
        elif action and not action.startswith("/*"):
            nodes.append(_action(action))
    return lambda dot, scope: "".join(node(dot, scope) for node in nodes), closing


def _parts(template: str) -> Iterator[tuple[str, str]]:
    """Yield texts, each with the action after it; a ``-`` beside it takes the blanks there away."""
    at, trim = 0, False
    for found in ACTION.finditer(template):
        text = template[at : found.start()]
        text = text.lstrip() if trim else text
        yield text.rstrip() if found[1] else text, found[2].strip()
        at, trim = found.end(), bool(found[3])
    if "{{" in template[at:]:
        raise _not_understood(template[at:].partition("{{")[2])
    yield template[at:].lstrip() if trim else template[at:], ""


def compiled(template: str) -> Callable[[Any], str]:
    """Return what fills a template; raises an Error naming what in it is not understood."""
    try:
        body, closing = _body(_parts(template))
    except (RecursionError, ValueError):  # too much in one another, or a text that json does not know
        raise _not_understood(template[2:-2]) from None
    if closing:
        raise RunError(f"--format {{{{{closing}}}}}: ends nothing", "leave it out")
    return lambda value: body(value, {"$": value})

"""The environment of a container's command: Docker's, never the caller's."""

from __future__ import annotations

from lxcfs_py.errors import reason
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def assignment(text: str, option: str, caller: Mapping[str, str]) -> tuple[str, str] | None:
    """Return name and value of ``NAME=VALUE``; ``NAME`` alone copies the caller's, None if it has none."""
    name, equals, value = text.partition("=")
    if "\0" in text:
        raise RunError(f"{option} {text!r}: a zero byte, which no variable can hold", "take it out")
    if not name or any(letter.isspace() for letter in name):
        raise RunError(f"{option} {text!r}: not a variable", "write it as NAME=VALUE")
    if equals:
        return name, value
    return (name, caller[name]) if name in caller else None


def lines(path: str, option: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a file that an option names, without comments, each with what an error says of it."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                text = line.rstrip("\r\n").lstrip()
                if text and not text.startswith("#"):
                    yield f"{option} {path}:", text
    except OSError as error:
        raise RunError(f"{option} {reason(error)}", "name a file that can be read") from error


def variables(files: Iterable[str], texts: Iterable[str], caller: Mapping[str, str]) -> dict[str, str]:
    """Return what --env-file and -e set, -e last; raises an Error naming the file or the text."""
    found: dict[str, str] = {}
    for option, text in (
        *(pair for path in files for pair in lines(path, "--env-file")),
        *(("-e", text) for text in texts),
    ):
        pair = assignment(text, option, caller)
        if pair:
            found[pair[0]] = pair[1]
    return found


def merge(base: Iterable[str], changes: Mapping[str, str]) -> list[str]:
    """Return ``NAME=VALUE`` items with some of them changed or added, each name once."""
    values = dict(item.partition("=")[::2] for item in base)
    return [f"{name}={value}" for name, value in {**values, **changes}.items()]

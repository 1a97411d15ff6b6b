"""``commit --change``: a line of a Dockerfile changes what an image says (Dockerfile reference); pure."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

SHELL = ("/bin/sh", "-c")
HINT = "write it as in a Dockerfile"


def _array(text: str) -> list[str] | None:
    """Return the words of a JSON array of strings, None for anything else."""
    try:
        found = json_text.loads(text.encode())
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def _command(text: str) -> list[str]:
    """Return the words of a command, by the shell unless it is an array."""
    words = _array(text)
    return [*SHELL, text] if words is None else words


def _words(text: str, line: str) -> list[str]:
    from shlex import split

    try:
        return split(text)
    except ValueError as error:
        raise RunError(f"--change {line!r}: {error}", HINT) from None


def _pairs(text: str, line: str) -> dict[str, str]:
    """Return names and values: ``A=1 B="2 3"``, or ``A 1``."""
    words = _words(text, line)
    if "=" not in words[0]:
        name, _, value = text.partition(" ")
        return {name: value.strip()}
    if wrong := [word for word in words if word.partition("=")[0] == "" or "=" not in word]:
        raise RunError(f"--change {line!r}: {wrong[0]!r} is not NAME=VALUE", HINT)
    return dict(word.partition("=")[::2] for word in words)


def _env(config: Mapping[str, Any], text: str, line: str) -> dict[str, Any]:
    before = dict(item.partition("=")[::2] for item in config.get("Env") or ())
    return {"Env": [f"{name}={value}" for name, value in {**before, **_pairs(text, line)}.items()]}


def _label(config: Mapping[str, Any], text: str, line: str) -> dict[str, Any]:
    return {"Labels": {**(config.get("Labels") or {}), **_pairs(text, line)}}


def _volume(config: Mapping[str, Any], text: str, line: str) -> dict[str, Any]:
    words = _array(text)
    return {"Volumes": {**(config.get("Volumes") or {}), **{w: {} for w in (words or _words(text, line))}}}


def _on_build(config: Mapping[str, Any], text: str, _line: str) -> dict[str, Any]:
    return {"OnBuild": [*(config.get("OnBuild") or ()), text]}


def _expose(config: Mapping[str, Any], text: str, line: str) -> dict[str, Any]:
    ports = {}
    for word in _words(text, line):
        port, _, protocol = word.partition("/")
        if not port.replace("-", "").isdigit() or protocol not in ("", "tcp", "udp", "sctp"):
            raise RunError(f"--change {line!r}: {word!r} is not a port", "write it as 80 or 53/udp")
        ports[f"{port}/{protocol or 'tcp'}"] = dict[str, str]()
    return {"ExposedPorts": {**(config.get("ExposedPorts") or {}), **ports}}


def _workdir(config: Mapping[str, Any], text: str, _line: str) -> dict[str, Any]:
    return {"WorkingDir": os.path.normpath(os.path.join("/", config.get("WorkingDir") or "/", text))}


INSTRUCTIONS: dict[str, Callable[[Mapping[str, Any], str, str], dict[str, Any]]] = {
    "CMD": lambda _config, text, _line: {"Cmd": _command(text)},
    "ENTRYPOINT": lambda _config, text, _line: {"Entrypoint": _command(text)},
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "STOPSIGNAL": lambda _config, text, _line: {"StopSignal": text},
    "USER": lambda _config, text, _line: {"User": text},
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def apply(config: Mapping[str, Any], lines: Iterable[str]) -> dict[str, Any]:
    """Return what an image says, changed by lines; raises an Error that names the one that is wrong."""
    found = dict(config)
    for line in lines:
        word, _, text = line.strip().partition(" ")
        if (
            "=" in word and word.partition("=")[0].upper() in INSTRUCTIONS
        ):  # CMD=[...], as podman and old dockers take it
            word, _, text = line.strip().partition("=")
        change = INSTRUCTIONS.get(word.upper())
        if change is None:
            raise RunError(f"--change {line!r}: {word!r} can't be changed", f"there are {', '.join(INSTRUCTIONS)}")
        if not text.strip():
            raise RunError(f"--change {line!r}: nothing is said", HINT)
        found |= change(found, text.strip(), line)
    return found

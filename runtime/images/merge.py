"""The process of a container: what its image says and what was asked for, merged as Docker does. Pure."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.record import Record
from runtime.errors import RunError
from runtime.process import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from runtime.images.manifest import Config

STOP_SIGNAL, TERM = "SIGTERM", "xterm"


class Asked(Record):
    """What the command line says; None where it says nothing."""

    args: tuple[str, ...] = ()
    entrypoint: str | None = None
    """One word, or a JSON array of words; "" for none, whatever the image has."""
    env: Mapping[str, str] = {}
    user: str | None = None
    workdir: str | None = None
    stop_signal: str | None = None
    tty: bool = False
    hostname: str = ""
    labels: Mapping[str, str] = {}


class Merged(Record):
    """What of it is the image's business."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    """``NAME=VALUE``, each name once."""
    user: str
    workdir: str
    stop_signal: str
    volumes: tuple[str, ...]
    """Where the image wants data to be kept, as absolute paths."""


def words(entrypoint: str) -> tuple[str, ...]:
    """Return the words of an entrypoint that was given, as Podman reads it: one, or those of a JSON array."""
    if entrypoint.startswith("["):
        try:
            found = json_text.loads(entrypoint.encode())
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(word, str) for word in found):
            return tuple(found)
    return (entrypoint,) if entrypoint else ()


def arguments(config: Config, args: Sequence[str], entrypoint: str | None) -> tuple[str, ...]:
    """Return the command line; raises an Error if neither says one.

    Whoever gives an entrypoint means it with the arguments given: the image's Cmd was made for the image's.
    """
    usual = (*config.entrypoint, *(args or config.cmd))
    found = usual if entrypoint is None else (*words(entrypoint), *args)
    if not found:
        raise RunError("no command given, and the image has none", "write it after the options: -- COMMAND")
    return found


def _inside(path: str) -> str:
    """Return an absolute path without ``..``: what is relative is meant from the root on."""
    return os.path.normpath("/" + path.lstrip("/"))


def kept(config: Config, asked: Asked, env: Iterable[str], volumes: Iterable[str]) -> dict[str, Any]:
    """Return what an image that is made of the container says, as config.md has it, beside what its own image says.

    ``env`` is the container's environment: what every container is given is no part of an image; ``volumes`` are
    where it has anonymous ones.
    """
    given = {f"HOSTNAME={asked.hostname}", f"PATH={environment.PATH}", f"TERM={TERM}"} - set(config.env)
    entrypoint, cmd = config.entrypoint, asked.args or config.cmd
    if asked.entrypoint is not None:
        entrypoint, cmd = words(asked.entrypoint), asked.args
    return {
        "Entrypoint": list(entrypoint),
        "Cmd": list(cmd),
        "Env": [item for item in env if item not in given],
        "User": asked.user or config.user,
        "WorkingDir": asked.workdir or config.workdir,
        "Labels": {**config.labels, **asked.labels},
        "Volumes": {place: {} for place in (*config.volumes, *volumes)},
    }


def merge(config: Config, asked: Asked) -> Merged:
    """Return the process of a container of that image; without an image ``Config()`` stands for one."""
    base = [f"PATH={environment.PATH}", f"HOSTNAME={asked.hostname}", *([f"TERM={TERM}"] if asked.tty else [])]
    own = dict(item.partition("=")[::2] for item in config.env if item.partition("=")[1] and item[0] != "=")
    return Merged(
        arguments(config, asked.args, asked.entrypoint),
        tuple(environment.merge(base, {**own, **asked.env})),
        asked.user or config.user or "0",
        asked.workdir or _inside(config.workdir),
        asked.stop_signal or config.stop_signal or STOP_SIGNAL,
        tuple(dict.fromkeys(map(_inside, config.volumes))),
    )

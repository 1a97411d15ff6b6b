"""Keeps compiled filters: compiling takes milliseconds, which is a tenth of a container's start."""

from __future__ import annotations

import os
from _blake2 import blake2b

from lxcfs_py import json_text
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

VERSION = 1
"""Changes with what the compiler makes of the same configuration; a test says when."""
KEPT = 64
"""How many are kept: whoever changes profiles all the time leaves no more behind."""


class Compiled(Record):
    """A program, the flags to load it with (without NEW_LISTENER), and whether a listener is to answer calls."""

    program: bytes
    flags: int
    notify: bool


def _key(seccomp: Mapping[str, Any], machine: str) -> str:
    text = json_text.dumps([VERSION, machine, dict(seccomp)])
    return str(blake2b(text, digest_size=16).hexdigest())


def _read(path: str) -> Compiled | None:
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return None
    digest, rest = data[:16], data[16:]
    if len(rest) % 8 != 0 or blake2b(rest, digest_size=16).digest() != digest:
        return None
    head = int.from_bytes(rest[:8], "little")
    return Compiled(rest[8:], head >> 1, bool(head & 1))


def _write(path: str, found: Compiled) -> None:
    """Keep it if that is possible; of too many all go."""
    directory = os.path.dirname(path)
    rest = (found.flags << 1 | found.notify).to_bytes(8, "little") + found.program
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        names = os.listdir(directory)
        for name in names if len(names) >= KEPT else ():
            os.unlink(f"{directory}/{name}")
        part = f"{path}.{os.getpid()}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, blake2b(rest, digest_size=16).digest() + rest)
        finally:
            os.close(descriptor)
        os.rename(part, path)
    except OSError:
        return


def compiled(seccomp: Mapping[str, Any], directory: str) -> Compiled:
    """Return what ``linux.seccomp`` is compiled to on this machine.

    It is kept in ``directory``, which is its owner's alone; "" is nowhere. Raises an Error naming field and value.
    """
    machine = os.uname().machine
    path = f"{directory}/{_key(seccomp, machine)}"
    found = _read(path) if directory else None
    if found is None:
        from runtime.filters import compiler

        found = compiler.compile(seccomp, machine)
        if directory:
            _write(path, found)
    return found

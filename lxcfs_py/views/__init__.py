"""The files that are served, one module each, as ``served`` lists them.

``read(reader, container)`` gathers, ``render`` decides; ``PATH`` is the file's. A module of several files has an
object for each in ``FILES``; modules of directories
have ``read(reader, container, path)``.
Beside that a module may have, for ``explain``:
    LINES: dict[str, Rule]                rules by name of a line, or by pattern of names; the first that fits counts
    rows(text, cpus) -> dict[str, str]    the lines of a text and what they say, where ``explain.rows`` would not do;
                                          ``cpus`` are the CPUs that it is about
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from lxcfs_py.served import FILES, PASSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader
    from lxcfs_py.rule import Rule


class View(Protocol):
    """What a module of this package offers."""

    PATH: str

    def read(self, reader: Reader, container: Container) -> bytes:
        """Return the text for a container; raises OSError if the host's own file can't be read."""


class Directory(Protocol):
    """What the module of a directory offers."""

    def read(self, reader: Reader, container: Container, path: str) -> bytes:
        """Return the text of a file below it; raises OSError where the host has none."""

    def rules(self, path: str) -> dict[str, Rule]:
        """Return the rules of a file's lines."""


def _view(path: str, name: str) -> View:
    module = import_module(f"{__name__}.{name}")
    return cast("View", getattr(module, "FILES", {path: module})[path])


VIEWS = {path: _view(path, module) for path, module in FILES.items()}
_PASSED = {f"{path}/": cast("Directory", import_module(f"{__name__}.{name}")) for path, name in PASSED.items()}


def directory(path: str) -> Directory | None:
    """Return who serves what is below a directory of ``served.PASSED``, None for all other paths."""
    return next((module for at, module in _PASSED.items() if path.startswith(at)), None)


def view(path: str) -> Callable[[Reader, Container], bytes] | None:
    """Return what makes a file's text, and raises OSError; None where there is no file of ours.

    Those are ``served.FILES``, and all below ``served.PASSED``.
    """
    below, file = directory(path), VIEWS.get(path)
    return partial(below.read, path=path) if below else file.read if file else None


def read(reader: Reader, container: Container, path: str) -> bytes:
    """Return the text of such a file; raises OSError."""
    make = view(path)
    assert make
    return make(reader, container)

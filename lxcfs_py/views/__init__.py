"""The files that are served, one module each, as ``served`` lists them.

``read(reader, container)`` gathers, ``render`` decides; ``PATH`` is the file's. A module of several files has an
object for each in ``FILES``; ``cpus`` serves a directory.
Beside that a module may have, for ``explain``:
    LINES: dict[str, Rule]                rules by name of a line, or by pattern of names; the first that fits counts
    rows(text, cpus) -> dict[str, str]    the lines of a text and what they say, where ``explain.rows`` would not do;
                                          ``cpus`` are the CPUs that it is about
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from lxcfs_py.served import CPU, FILES
from lxcfs_py.views import cpus

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader


class View(Protocol):
    """What a module of this package offers."""

    PATH: str

    def read(self, reader: Reader, container: Container) -> bytes:
        """Return the text for a container; raises OSError if the host's own file can't be read."""


def _view(path: str, name: str) -> View:
    module = import_module(f"{__name__}.{name}")
    return cast("View", getattr(module, "FILES", {path: module})[path])


VIEWS = {path: _view(path, module) for path, module in FILES.items()}


def read(reader: Reader, container: Container, path: str) -> bytes:
    """Return the text of a file of ``served.FILES`` or below ``served.CPU``; raises OSError."""
    if path.startswith(CPU + "/"):
        return cpus.read(reader, container, path)
    return VIEWS[path].read(reader, container)

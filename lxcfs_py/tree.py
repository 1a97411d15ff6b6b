"""What the mount holds: pure functions from paths to nodes. A path is relative to the mount point, "" its root.

    proc/NAME, sys/devices/system/cpu/...             by caller
    containers/ID/{proc,sys}/...                      by registration; inside, ID is ID@START so that a name used
                                                      again is another container
Below sys/devices/system/cpu, what is no view is the host's own.
"""

from __future__ import annotations

from lxcfs_py.views import VIEWS

CPU = "sys/devices/system/cpu"
CONTAINERS = "containers"


def _directories() -> dict[str, tuple[str, ...]]:
    """Return the names in every directory that leads to a view."""
    found: dict[str, set[str]] = {"": {CONTAINERS}}
    for path in VIEWS:
        parts = path.split("/")
        for depth, name in enumerate(parts):
            found.setdefault("/".join(parts[:depth]), set()).add(name)
    return {path: tuple(sorted(names)) for path, names in found.items()}


DIRECTORIES = _directories()


def split(path: str) -> tuple[str, str]:
    """Return the container (``ID@START``, "" for by caller) and the path within its tree."""
    if path.startswith(CONTAINERS + "/"):
        container, _, rest = path[len(CONTAINERS) + 1 :].partition("/")
        return container, rest
    return "", path


def is_view(path: str) -> bool:
    """Say whether a path within a tree is served."""
    return path in VIEWS


def is_passed(path: str) -> bool:
    """Say whether a path within a tree shows the host's own, if it has it."""
    return path not in VIEWS and path.startswith(CPU + "/")


def children(path: str, *, container: bool) -> tuple[str, ...] | None:
    """Return the names in a directory of ours, None if it is none; the host's names come beside them in CPU."""
    names = DIRECTORIES.get(path)
    if names is not None and container and path == "":
        return tuple(name for name in names if name != CONTAINERS)
    return names


def join(path: str, name: str) -> str:
    """Return the path of a directory's child."""
    return f"{path}/{name}" if path else name

"""What the mount holds: pure functions from paths to nodes. A path is relative to the mount point, "" its root.

    proc/NAME, sys/devices/system/{cpu,node}/...      by caller
    containers/ID/{proc,sys}/...                      by registration; inside, ID is ID@START so that a name used
                                                      again is another container
Below the directories of ``served.PASSED`` there is what the host has, for the CPUs that are seen (``views.cpus``).
"""

from __future__ import annotations

from lxcfs_py.served import BOUND, FILES, PASSED

CONTAINERS = "containers"


def _directories() -> dict[str, tuple[str, ...]]:
    """Return the names in every directory that leads to what is served."""
    found: dict[str, set[str]] = {"": {CONTAINERS}, **{path: set() for path in PASSED}}
    for path in BOUND:
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
    """Say whether a path within a tree is a file of ours."""
    return path in FILES


def is_passed(path: str) -> bool:
    """Say whether a path within a tree is there because the host has one like it."""
    return any(path.startswith(f"{directory}/") for directory in PASSED)


def children(path: str, *, container: bool) -> tuple[str, ...] | None:
    """Return the names in a directory of ours, None if it is none; in those passed on come the host's."""
    names = DIRECTORIES.get(path)
    if names is not None and container and path == "":
        return tuple(name for name in names if name != CONTAINERS)
    return names


def join(path: str, name: str) -> str:
    """Return the path of a directory's child."""
    return f"{path}/{name}" if path else name

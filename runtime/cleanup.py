"""Removes what a container is on the host: processes, cgroups, registration, files, state; in this order.

Whatever is not there (any more) is fine, so that what a killed ``pyproc-run`` left half made goes the same way.
"""

from __future__ import annotations

import os
import time

from lxcfs_py.cgroup import control, layout
from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from runtime import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from runtime.state import State

VARIABLE = "LXCFS_PY_RUNTIME_DIR"


def host() -> Host:
    """Return the host, with the run-time directory the environment names."""
    return Host(run=os.environ.get(VARIABLE, "/run"))


def ended(found: State, there: Layout) -> None:
    """Remove what only a running container needs: its registration and its cgroups, killing what is left in them."""
    from lxcfs_py import registry

    registry.unregister(host(), found.id)
    try:
        control.remove(host(), there, found.cgroup, timeout=0)
    except Error:  # something lives there yet
        _kill(found, there)


def _kill(found: State, there: Layout) -> None:
    if not control.kill_all(host(), there, found.cgroup):
        raise Error(f"container {found.id!r}: its processes don't die", "they hang in the kernel; try again later")
    control.remove(host(), there, found.cgroup)


def cleanup(found: State, there: Layout | None = None) -> None:
    """Remove the container altogether; the caller holds its lock. Raises an Error if its processes don't die."""
    ended(found, there or layout.detect(host(), Files()))
    if found.storage:
        remove_tree(found.storage)
        _prune(os.path.dirname(found.storage))
    poststop = _poststop(found)
    remove_tree(found.directory)
    if poststop:
        from runtime import hooks, log, oci

        hooks.each("poststop", poststop, oci.state(found, state.STOPPED), log.warning)


def _poststop(found: State) -> dict[str, Any]:
    """Return the configuration's hooks if there are any for the end of it."""
    try:
        hooks = state.config(found).get("hooks")
    except Error:  # it was given up before it was written
        return {}
    return hooks if isinstance(hooks, dict) and hooks.get("poststop") else {}


def _prune(directory: str) -> None:
    try:
        os.rmdir(directory)
    except OSError:
        return


def remove_tree(path: str) -> None:
    """Remove a directory and all below it, without following links, however deep it is: a container has filled it.

    Directories are moved up to the top before they are emptied, so that no path gets long (``shutil`` recurses, and
    costs 3 ms of import).
    """
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        inner = _emptied(top)
        mark, moved = os.urandom(8).hex(), 0
        while inner:
            name = inner.pop()
            directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                for child in _emptied(directory):
                    moved += 1
                    os.rename(child, f"{mark}.{moved}", src_dir_fd=directory, dst_dir_fd=top)
                    inner.append(f"{mark}.{moved}")
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _emptied(directory: int) -> list[str]:
    """Remove a directory's files; return the names of its directories."""
    inner = []
    with os.scandir(directory) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return inner


def sweep(root: str, storage: str, there: Layout) -> None:
    """Remove containers whose maker was killed: half made ones, and ended ones that were to be removed."""
    for path in state.abandoned(root, time.time()):
        remove_tree(path)
    for id_ in state.ids(root):
        try:
            held = state.lock(root, id_, wait=False)
        except (BlockingIOError, Error):
            continue
        try:
            try:
                found = state.load(root, id_)
                left = found.exit_code is None and not found.pid
                left = left or (found.remove and state.status(root, found, locked=True) == state.STOPPED)
            except Error:
                found, left = state.remains(root, storage, id_), not os.path.exists(f"{root}/{id_}/state.json")
            if left:
                cleanup(found, there)
        except (Error, OSError):  # somebody else's trouble must not stop this start; pyproc delete will say it
            continue
        finally:
            os.close(held)

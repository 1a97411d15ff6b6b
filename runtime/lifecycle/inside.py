"""A container's files as it sees them, from outside: by its first process, or mounted anew if it has ended.

Every path is resolved below the root's descriptor (``kernel.mountapi.openat2``).
"""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import places, state
from runtime.kernel import mountapi
from runtime.kernel import syscalls as sc
from runtime.lifecycle import again
from runtime.process import ids, namespaces
from runtime.root import rootfs
from runtime.root.mounts import Mount, Propagation
from runtime.root.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.process.ids import Rows
    from runtime.state import State

    Maps = tuple[Rows, Rows]


def within(root: str, found: State, act: Callable[[], None]) -> None:
    """Do something where a user may reach a container's files: as the root of its user namespace, or of one like it.

    Raises an Error if that root is not the user, whose files are not its then.
    """
    if not places.rootless():
        act()
        return
    from runtime.process import rootless

    container = -1
    if state.status(root, found) != state.STOPPED:
        try:
            container = os.pidfd_open(found.pid)
            owner = tuple(ids.outer(map_, 0) for map_ in ids.of(found.pid))
        except (FileNotFoundError, ProcessLookupError):
            raise _has_ended(found) from None
        except PermissionError as error:
            raise namespaces.hidden(found.id, error) from error
        if owner != (os.getuid(), os.getgid()):
            why = f"its root is user {owner[0]} of the host, not you"
            raise Error(f"container {found.id!r}: {why}", "pass a tar through pyproc exec")
    rootless.inside(act, container)


def _has_ended(found: State) -> Error:
    return Error(f"container {found.id!r} has just ended", "try again")


class Place:
    """Where paths begin: a container's root by descriptor, or the host's."""

    def __init__(self, top: int = -1, maps: Maps = (ids.SAME, ids.SAME)) -> None:
        self.top = top
        self.maps = maps
        """Its user namespace's, of users and groups."""

    def owner(self, *, needed: bool = True) -> tuple[int, int]:
        """Return the host's ids of root there; if it is ``needed``, a user namespace without is an Error."""
        uid, gid = (ids.outer(map_, 0) for map_ in self.maps)
        if needed and (uid is None or gid is None):
            raise Error("the container's user namespace has no root", "give --archive, which keeps owners")
        return uid or 0, gid or 0

    def open(self, path: str, flags: int) -> int:
        """Return a descriptor; raises OSError naming the path."""
        if self.top < 0:
            return os.open(path or ".", flags | os.O_CLOEXEC)
        return mountapi.openat2(self.top, path or "/", flags)


def opened(root: str, found: State, held: int) -> Place:
    """Return a container's root; ``held`` is its lock, which keeps an ended one from being started meanwhile.

    That of an ended one is mounted for this process alone, in a mount namespace of its own.
    """
    if state.status(root, found, locked=True) != state.STOPPED:
        os.close(held)
        try:
            top = os.open(f"/proc/{found.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            maps = ids.of(found.pid)
        except (FileNotFoundError, ProcessLookupError):
            top = -1
        except PermissionError as error:
            raise namespaces.hidden(found.id, error) from error
        if top < 0 or not state.alive(found.pid, found.start_ticks):  # the pid may have been another's by then
            raise _has_ended(found)
        return Place(top, maps)
    if not found.storage:
        raise Error(f"container {found.id!r}: its root is its bundle's, and not mounted any more", "look there")
    request = again.kept(found)
    with open("/proc/self/mountinfo", "rb") as file:
        facts = rootfs.gather(request.lowers, found.storage, file.read(), user=places.unprivileged())
    if rootfs.in_memory(facts):
        raise Error(f"container {found.id!r}: its files were in memory, and went when it ended", "start it first")
    sc.unshare(sc.CLONE_NEWNS)
    tree = Tree()
    place, steps = rootfs.steps(request.lowers, found.storage, facts, ())
    for step in (Propagation("/", sc.MS_PRIVATE | sc.MS_REC), *steps):
        step.execute(tree)
    tree.enter(place)
    for mount in request.spec["mounts"]:
        if mount["type"] == "bind":
            Mount(mount["source"], mount["destination"], "bind", tuple(mount["options"])).execute(tree)
    return Place(tree.top)

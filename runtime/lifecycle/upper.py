"""What a container has changed, and holding it still while that is read."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from runtime import places, state
from runtime.images import resolve
from runtime.kernel import syscalls as sc
from runtime.lifecycle import oci
from runtime.root import rootfs
from runtime.root.mounts import Overlay, Propagation
from runtime.root.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from runtime.state import State


class Part(Record):
    """One overlay of a container's root."""

    name: str
    """Of the directory it is at; "" for the root."""
    upper: str
    lowers: tuple[str, ...]
    """The layers below, the topmost first; the first is the one of what the runtime has made."""


def _read(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return json_text.loads(file.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Error(reason(error), "run it as root") from error
    except ValueError:
        raise Error(f"{path}: damaged", "remove the container, and start it anew") from None


def parts(found: State) -> list[Part]:
    """Return what its root is made of; raises an Error if that is not on the disk."""
    base = found.storage
    if not base:
        raise Error(f"container {found.id!r}: its root is its bundle's", "only pyproc-run's have an upper layer")
    known = _read(f"{base}/{rootfs.PARTS}")
    if not known:
        where = os.path.dirname(os.path.dirname(base))
        raise Error(
            f"container {found.id!r}: what it changes is in memory, since {where} can't carry an upper layer",
            "start it with a --storage that can",
        )
    return [
        Part(name, rootfs.upper(base, name), (rootfs.init(base, name), *lowers)) for name, lowers in known.items()
    ]


def merged(found: State) -> int:
    """Return the root that its image, or directory, and its changes show, mounted for this process alone.

    What the runtime has made there, and what is mounted, is not in it.
    """
    part = parts(found)[0]
    if len(part.lowers) < 2:
        raise Error(
            f"container {found.id!r}: its root is the host's", f"pyproc cp {found.id}:/PATH takes a part of it"
        )
    sc.unshare(sc.CLONE_NEWNS)
    tree = Tree()
    Propagation("/", sc.MS_PRIVATE | sc.MS_REC).execute(tree)
    place, options = f"{found.storage}/root", ("ro", "nodev", *rootfs.PLAIN[places.unprivileged()])
    Overlay("overlay", place, "overlay", options, lowers=(part.upper, *part.lowers[1:])).execute(tree)
    return tree.open(place, os.O_RDONLY | os.O_DIRECTORY)


def use(found: State) -> dict[str, Any]:
    """Return what is written down of its image; raises an Error for a container without one."""
    known = _read(f"{found.storage}/{resolve.USE}") if found.storage else None
    if not isinstance(known, dict):
        raise Error(
            f"container {found.id!r} has no image for the new one to lie on: below it are the host's files, or a DIR",
            f"start it with --image; pyproc diff {found.id} shows what it has changed",
        )
    return known


class Still:
    """Within it, the container's processes stand still, if ``pause`` and they run.

    They go on even if we are killed: a child waits for our end of a pipe to close, and lets them. What is to be done
    ``after`` it is called at its end.
    """

    def __init__(self, root: str, found: State, after: Callable[[], None], *, pause: bool) -> None:
        self.found, self.after = found, after
        self.pause = pause and oci.status(root, found) in (state.CREATED, state.RUNNING)
        self._end = self._child = -1

    def __enter__(self) -> None:
        if not self.pause:
            return
        if not self.found.cgroup:
            text = f"container {self.found.id!r} can't be paused: it has no cgroup of its own"
            raise Error(text, "give --pause=false, and see that it changes nothing meanwhile")
        there = places.layout(self.found.cgroup)
        read, self._end = os.pipe2(os.O_CLOEXEC)
        self._child = os.fork()
        if self._child == 0:
            self._wait(read, there)
        os.close(read)
        control.freeze(there, self.found.cgroup)

    def _wait(self, read: int, there: Layout) -> None:
        try:
            os.setsid()  # no Ctrl-C of the terminal's
            os.close(self._end)
            os.read(read, 1)
            control.thaw(there, self.found.cgroup)
        finally:
            os._exit(0)

    def __exit__(self, *_error: object) -> None:
        if self._child > 0:
            os.close(self._end)
            os.waitpid(self._child, 0)
        self.after()

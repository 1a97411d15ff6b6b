"""Connects a container to its network, and undoes it: ``bridge`` does it, ``cni`` or ``slirp``."""

from __future__ import annotations

import os

from runtime.network import cni, slirp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.network.wish import Wish
    from runtime.state import State


def connect(wish: Wish, storage: str, found: State, hosts: str, namespace: Callable[[], int]) -> None:
    """Connect a container whose first process is there; raises an Error, and then ``disconnect`` is to be called.

    ``hosts`` will be its /etc/hosts, as the host sees it; ``namespace`` returns a descriptor of its own.
    """
    if wish.by_program:
        slirp.connect(wish, found, namespace())
        return
    if wish.cni:
        cni.add(wish, found, hosts)
        return
    from runtime.network import bridge

    root = os.path.dirname(found.directory)
    bridge.connect(wish, storage, root, found.id, hosts, found.pid)


def tell(found: State) -> None:
    """Write a container's own name and those of its network into its /etc/hosts, now that this is there."""
    if slirp.used(found):
        slirp.tell(found)
        return
    if cni.used(found):
        cni.tell(found)
        return
    from runtime.network import bridge

    bridge.tell(os.path.dirname(found.directory), found.id)


def disconnect(found: State) -> None:
    """Take away what it has of any network."""
    if slirp.used(found):
        slirp.disconnect(found)
        return
    if cni.used(found):
        cni.delete(found)
        return
    from runtime.network import bridge

    bridge.release(os.path.dirname(found.directory), found.key)

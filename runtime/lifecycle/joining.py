"""Puts a container into networks and takes it out of them: now, if it runs, and for when it starts again."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from runtime import state
from runtime.config import joined
from runtime.lifecycle import again
from runtime.network import bridge, leases, networks, sysctls
from runtime.network.wish import DEFAULT, Wish
from runtime.request import NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.lifecycle.finding import Locked
    from runtime.network.wish import End
    from runtime.request import Request
    from runtime.state import State

RUNNING = (state.CREATED, state.RUNNING)


def _asked(found: State) -> tuple[Request, Wish]:
    """Return what a container was asked to be and the networks it wants; raises an Error if they are not its own."""
    asked = again.read(found.storage) if found.storage else None
    if asked is None:
        raise Error(f"container {found.id!r} has no networks of pyproc's", "an engine connects its own containers")
    if other := found.annotations.get(joined.JOINED["network"]):
        raise Error(f"container {found.id!r} has the network of {other!r}", f"connect {other}")
    if NETWORK not in found.annotations or asked.network is None:
        raise Error(f"container {found.id!r} has no networks of its own", "make it anew, with --network bridge")
    if asked.network.cni or asked.network.by_program:
        whose = "CNI plugins" if asked.network.cni else asked.network.ends[0].name
        raise Error(f"container {found.id!r} has a network by {whose}", "make it anew, with --network bridge")
    return asked, asked.network


def _remember(found: State, asked: Request, wish: Wish, ends: tuple[End, ...]) -> None:
    again.keep(asked.replace(network=wish.replace(ends=ends)), found.storage)


def connect(held: Locked, end: End) -> None:
    """Put it into a network; raises an Error if it is there already, or what is wanted can't be had."""
    found = held.load()
    asked, wish = _asked(found)
    with leases.Locked():
        network = networks.use(asked.storage, end.name, ipv6=sysctls.ipv6())
    if end.aliases and not network.named:
        raise Error(f"network {DEFAULT!r}: names are not resolved there", "make one: pyproc network create NAME")
    leases.fitting(network, 4, end.address)
    leases.fitting(network, 6, end.address6)
    there = any(each.name == end.name for each in wish.ends)
    if state.status(held.root, found, locked=True) in RUNNING:
        live = any(lease.bridge == network.bridge for lease in bridge.current().all_of(held.root, found.key))
        if there and live:
            raise _already(found, end)
        if not live:
            hosts = f"{found.storage}/etc/hosts"
            bridge.connect(wish.replace(ends=(end,)), asked.storage, held.root, found.key, hosts, found.pid)
    elif there:
        raise _already(found, end)
    _remember(found, asked, wish, (*(each for each in wish.ends if each.name != end.name), end))


def _already(found: State, end: End) -> Error:
    return Error(f"container {found.id!r} is in the network {end.name!r} already", "disconnect it first")


def disconnect(held: Locked, name: str, *, force: bool) -> None:
    """Take it out of a network; raises an Error if it is not there, unless ``force`` says that this will do."""
    found = held.load()
    asked, wish = _asked(found)
    left = tuple(each for each in wish.ends if each.name != name)
    gone = left != wish.ends
    if state.status(held.root, found, locked=True) in RUNNING:
        gone = bridge.disconnect(held.root, found.key, name, found.pid) or gone
    if not gone and not force:
        raise Error(
            f"container {found.id!r} is not in the network {name!r}", f"pyproc inspect {found.id} tells where"
        )
    _remember(found, asked, wish, left)


def remembered(storage: str) -> dict[str, list[str]]:
    """Return by network the containers that will want it when they are started."""
    found: dict[str, list[str]] = {}
    try:
        ids = sorted(each.name for each in os.scandir(f"{storage}/containers") if not each.is_symlink())
    except FileNotFoundError:
        return found
    for id_ in ids:
        asked = again.read(f"{storage}/containers/{id_}")
        if asked is not None and asked.network is not None and not asked.network.cni:
            for end in asked.network.ends:
                found.setdefault(end.name, []).append(id_)
    return found

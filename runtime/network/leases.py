"""Who has which address and which ports: one file for each of the host's network namespaces, read and written locked.

``RUN/pyproc-network/INODE.json``. A lease holds as long as its interface on the host is there, and that is as long as
the container's network namespace: whatever was killed, the next who reads knows what is void. So is one that is
only ``begun`` and nobody holds the lock: whoever was making or undoing it was killed over that.
"""

from __future__ import annotations

import fcntl
import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime import places, state
from runtime.errors import RunError
from runtime.network import addresses, networks, ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Self

    from runtime.network.network import Network
    from runtime.network.wish import End
else:
    import _socket


class Lease(Record):
    """What one container has of a network."""

    root: str
    """The directory of its state; with ``id`` it names the container."""
    id: str
    bridge: str
    """Its network's."""
    interface: str
    """The host's end of its cable."""
    hosts: str
    """Its /etc/hosts, as the host sees it."""
    address: str
    address6: str
    mac: str
    ports: tuple[ports.Port, ...] = ()
    names: tuple[str, ...] = ()
    """What it is called in its network: id and aliases."""
    hostname: str = ""
    gateways: tuple[str, ...] = ()
    """What it calls the gateway."""
    inside: str = "eth0"
    """What the container calls its interface."""
    begun: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, of both families."""
        return tuple(filter(None, (self.address, self.address6)))


class Book(Record):
    """All leases, the networks they are of by bridge, and the address each network gave last."""

    networks: Mapping[str, Network] = {}
    leases: tuple[Lease, ...] = ()
    last: Mapping[str, int] = {}

    def all_of(self, root: str, id_: str) -> tuple[Lease, ...]:
        """Return a container's leases, that of its first network first."""
        return tuple(lease for lease in self.leases if (lease.root, lease.id) == (root, id_))

    def main(self, mine: Iterable[Lease]) -> Lease | None:
        """Return the lease that a container's ports belong to: the first that leads out, else the first."""
        return min(mine, key=lambda lease: self.networks[lease.bridge].internal, default=None)

    def of(self, bridge: str) -> tuple[Lease, ...]:
        """Return the leases of a network."""
        return tuple(lease for lease in self.leases if lease.bridge == bridge)

    def kept(self, holds: Callable[[Lease], bool]) -> Book:
        """Return what is left with the leases that hold, and with the networks they are of."""
        leases = tuple(filter(holds, self.leases))
        bridges = {lease.bridge for lease in leases}
        return Book(
            {bridge: network for bridge, network in self.networks.items() if bridge in bridges}, leases, self.last
        )

    def shown(self, root: str, id_: str) -> tuple[ports.Port, ...]:
        """Return what a container publishes."""
        return tuple(port for lease in self.all_of(root, id_) for port in lease.ports)

    def publishing(self, root: str, id_: str, shown: tuple[ports.Port, ...]) -> Book:
        """Return the book with a container's ports where they belong; without a network it has none."""
        mine = self.all_of(root, id_)
        main = self.main(mine)
        changed = {lease: lease.replace(ports=shown if lease is main else ()) for lease in mine}
        return self.replace(leases=tuple(changed.get(lease, lease) for lease in self.leases))

    def begun(self, some: Iterable[Lease]) -> Book:
        """Return the book in which the leases of some interfaces are only begun."""
        cables = {lease.interface for lease in some}
        return self.replace(
            leases=tuple(each.replace(begun=True) if each.interface in cables else each for each in self.leases)
        )

    def beyond(self, other: Book) -> list[str]:
        """Return the interfaces of the host that it has and another has not."""
        kept = {*(lease.interface for lease in other.leases), *other.networks}
        return [name for name in (*(lease.interface for lease in self.leases), *self.networks) if name not in kept]

    def with_(self, network: Network, lease: Lease) -> Book:
        """Return the book with one lease more."""
        found = addresses.number(lease.address)
        last = {**self.last, **({network.bridge: found[1]} if found else {})}
        return Book({**self.networks, network.bridge: network}, (*self.leases, lease), last)


def fitting(network: Network, version: int, asked: str) -> int | None:
    """Return the number of an address that is asked for; raises an Error if it can't be one of the network."""
    option = "--ip" if version == 4 else "--ip6"
    subnet = network.subnet_of(version)
    if not asked:
        return None
    if subnet is None:
        raise RunError(f"{option} {asked}: network {network.name!r} has no IPv6", "make it with --ipv6")
    return subnet.address(asked, option)


def _address(network: Network, book: Book, version: int, asked: str, after: int) -> int | None:
    """Return the number of an address, the one ``asked`` for or a free one; None if the network has none of these."""
    value, subnet = fitting(network, version, asked), network.subnet_of(version)
    if subnet is None:
        return None
    owners = {text: lease.id for lease in book.of(network.bridge) for text in lease.addresses}
    owners |= {gateway: "its gateway" for _, gateway in network.subnets}
    if value is not None:
        if asked in owners:
            option = "--ip" if version == 4 else "--ip6"
            raise RunError(f"{option} {asked}: taken by {owners[asked]}", "choose another, or leave it out")
        return value
    taken = {found[1] for text in owners if (found := addresses.number(text))}
    part = network.range if version == 4 else network.range6
    picked = subnet.pick(taken, after, addresses.subnet(part) if part else None)
    if picked is None:
        raise RunError(
            f"network {network.name!r}: all addresses of {part or subnet} are taken",
            "remove containers, or make a larger one",
        )
    return picked


def decide(network: Network, book: Book, wish: End, who: Lease) -> Lease:
    """Return the lease that a wish comes to; ``who`` says whose it is. Raises Errors for what others have.

    The IPv6 address has the same place in its subnet as the IPv4 one in its own, where it is free.
    """
    first = addresses.subnet(network.subnet).first
    address = _address(network, book, 4, wish.address, book.last.get(network.bridge, first))
    assert address is not None  # every network has IPv4
    after6 = addresses.subnet(network.subnet6).first + address - first - 1 if network.subnet6 else 0
    address6 = _address(network, book, 6, wish.address6, after6)
    mac = wish.mac or addresses.mac(address)
    for lease in book.of(network.bridge):
        if lease.mac == mac:
            raise RunError(f"--mac-address {mac}: container {lease.id!r} has it", "choose another, or leave it out")
    return who.replace(
        address=addresses.show(4, address),
        address6=addresses.show(6, address6) if address6 is not None else "",
        mac=mac,
        inside=_inside(book.all_of(who.root, who.id), wish.interface),
    )


def _inside(mine: Iterable[Lease], asked: str) -> str:
    """Return what an interface more is called inside: what is asked for, or the first ``ethN`` that is free."""
    taken = {lease.inside for lease in mine}
    if asked in taken:
        raise RunError(f"interface_name={asked}: the container has one of that name", "choose another")
    return asked or next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)


def _read(data: bytes) -> Book:
    """Return the book of its file's text; raises ValueError."""
    found = json_text.loads(data)
    if not isinstance(found, dict) or not found.keys() >= {"networks", "leases", "last"}:
        raise ValueError(found)
    try:
        leases = tuple(_lease(value) for value in found["leases"])
    except (TypeError, KeyError) as error:
        raise ValueError(found) from error
    return Book({each["bridge"]: networks.read(each) for each in found["networks"]}, leases, found["last"])


def _lease(value: Mapping[str, Any]) -> Lease:
    lists = {key: tuple(value.get(key, ())) for key in ("names", "gateways")}
    return Lease.known({**value, **lists, "ports": tuple(ports.Port.known(each) for each in value["ports"])})


def _written(book: Book) -> dict[str, Any]:
    return {
        "networks": [network.as_dict() for network in book.networks.values()],
        "leases": [{**lease.as_dict(), "ports": [port.as_dict() for port in lease.ports]} for lease in book.leases],
        "last": dict(book.last),
    }


def interfaces() -> frozenset[str]:
    """Return the names of the interfaces there are."""
    return frozenset(name for _, name in _socket.if_nameindex())


class Locked:
    """The file, locked while entered."""

    def __init__(self) -> None:
        self.directory = f"{places.host().run}/pyproc-network"
        inode = os.stat("/proc/self/ns/net").st_ino
        self.path = f"{self.directory}/{inode}.json"
        self.descriptor = -1

    def __enter__(self) -> Self:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self.descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self.descriptor)

    def load(self) -> Book:
        """Return what is written; raises an Error for what can't be read."""
        try:
            with open(self.path, "rb") as file:
                return _read(file.read())
        except FileNotFoundError:
            return Book()
        except ValueError:
            raise Error(f"{self.path}: not a list of leases", "remove it once no container has a network") from None

    def save(self, book: Book) -> None:
        """Write it down; nothing is left where nobody has anything."""
        if book.leases:
            state.write(self.path, _written(book))
            return
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return

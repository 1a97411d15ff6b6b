"""Who has which address and which ports: one file for each of the host's network namespaces, read and written locked.

``RUN/pyproc-network/INODE.json``. A lease holds as long as its interface on the host is there, and that is as long as
the container's network namespace: whatever was killed, the next who reads knows what is void.
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
    from collections.abc import Callable, Mapping
    from typing import Any, Self

    from runtime.network.networks import Network
    from runtime.network.wish import Wish
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

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, of both families."""
        return tuple(filter(None, (self.address, self.address6)))


class Book(Record):
    """All leases, the networks they are of by bridge, and the address each network gave last."""

    networks: Mapping[str, Network] = {}
    leases: tuple[Lease, ...] = ()
    last: Mapping[str, int] = {}

    def find(self, root: str, id_: str) -> Lease | None:
        """Return a container's lease."""
        return next((lease for lease in self.leases if (lease.root, lease.id) == (root, id_)), None)

    def all_of(self, root: str, id_: str) -> tuple[Lease, ...]:
        """Return a container's leases, that of its first network first."""
        return tuple(lease for lease in self.leases if (lease.root, lease.id) == (root, id_))

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

    def with_(self, network: Network, lease: Lease) -> Book:
        """Return the book with one lease more."""
        found = addresses.number(lease.address)
        last = {**self.last, **({network.bridge: found[1]} if found else {})}
        return Book({**self.networks, network.bridge: network}, (*self.leases, lease), last)


def _address(network: Network, book: Book, version: int, asked: str, after: int) -> int | None:
    """Return the number of an address, the one ``asked`` for or a free one; None if the network has none of these."""
    subnet, gateway = next((pair for pair in network.subnets if pair[0].version == version), (None, ""))
    option = "--ip" if version == 4 else "--ip6"
    if subnet is None:
        if asked:
            raise RunError(f"{option} {asked}: network {network.name!r} has no IPv6", "make it with --ipv6")
        return None
    owners = {text: lease.id for lease in book.of(network.bridge) for text in lease.addresses}
    owners[gateway] = "its gateway"
    if asked:
        value = subnet.address(asked, option)
        if asked in owners:
            raise RunError(f"{option} {asked}: taken by {owners[asked]}", "choose another, or leave it out")
        return value
    taken = {found[1] for text in owners if (found := addresses.number(text))}
    picked = subnet.pick(taken, after)
    if picked is None:
        raise RunError(
            f"network {network.name!r}: all addresses of {subnet} are taken",
            "remove containers, or make a larger one",
        )
    return picked


def decide(network: Network, book: Book, wish: Wish, who: Lease, busy: Callable[[ports.Port], str]) -> Lease:
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
    others = [(lease.id, port) for lease in book.leases for port in lease.ports]
    return who.replace(
        address=addresses.show(4, address),
        address6=addresses.show(6, address6) if address6 is not None else "",
        mac=mac,
        ports=ports.resolve(wish.ports, others, busy),
    )


def busy(port: ports.Port) -> str:
    """Say why the host can't give a port: a program of the host listens there."""
    kind = _socket.SOCK_STREAM if port.protocol == "tcp" else _socket.SOCK_DGRAM
    for version in port.versions:
        family = addresses.FAMILIES[version]
        try:
            tried = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
        except OSError:  # this host has no such family
            continue
        try:
            if kind == _socket.SOCK_STREAM:  # what was closed a minute ago is no listener
                tried.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if version == 6:
                tried.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            tried.bind((port.ip or ports.EVERY[version], port.host))
        except OSError as error:
            return "a program of the host has it" if error.errno == 98 else f"{port.ip}: {error.strerror}".lower()
        finally:
            tried.close()
    return ""


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

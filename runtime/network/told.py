"""What is said of a container's networks, in Docker's words."""

from __future__ import annotations

from runtime.network import ports
from runtime.request import NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from runtime.network.leases import Book, Lease
    from runtime.network.wish import End
    from runtime.state import State


def published(leases: Iterable[Lease]) -> Iterator[tuple[str, str, int]]:
    """Yield what is published: ``80/tcp``, and the address and port of the host that lead there."""
    for lease in leases:
        families = {version for version, text in ((4, lease.address), (6, lease.address6)) if text}
        for port in sorted(lease.ports, key=lambda port: (port.container, port.protocol, port.host)):
            for version in port.versions:
                if version in families:
                    yield f"{port.container}/{port.protocol}", port.ip or ports.EVERY[version], port.host


def address(ip: str, port: int) -> str:
    """Return both, as they are written together."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def arrows(leases: Iterable[Lease]) -> str:
    """Return what is published as ``ps`` shows it."""
    return ", ".join(f"{address(ip, port)}->{inside}" for inside, ip, port in published(leases))


NOWHERE = {
    "IPAddress": "", "IPPrefixLen": 0, "Gateway": "",
    "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPv6Gateway": "", "MacAddress": "",
}  # fmt: skip
"""What a container has without a network, or while it does not run."""


def endpoint(book: Book, lease: Lease) -> dict[str, Any]:
    """Return what a container has of one network."""
    network = book.networks[lease.bridge]
    found: dict[str, Any] = {**NOWHERE, "Aliases": list(lease.names), "MacAddress": lease.mac}
    for (subnet, gateway), own in zip(network.subnets, lease.addresses, strict=False):
        keys = ("IPAddress", "IPPrefixLen", "Gateway") if subnet.version == 4 else (
            "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway")  # fmt: skip
        found |= dict(zip(keys, (own, subnet.bits, "" if network.internal else gateway), strict=True))
    return found


def settings(book: Book, leases: Iterable[Lease], remembered: Iterable[End] = ()) -> dict[str, Any]:
    """Return ``NetworkSettings``; the addresses of its first network are beside those of each, as people ask for.

    ``remembered``: the networks that it will have when it is started.
    """
    mine = list(leases)
    found: dict[str, list[dict[str, str]]] = {}
    for inside, ip, port in published(mine):
        found.setdefault(inside, []).append({"HostIp": ip, "HostPort": str(port)})
    networks = {end.name: {**NOWHERE, "Aliases": list(end.aliases)} for end in remembered}
    networks |= {book.networks[lease.bridge].name: endpoint(book, lease) for lease in mine}
    first = next(iter(networks.values()), NOWHERE)
    return {"Ports": found, **{key: first[key] for key in NOWHERE}, "Networks": networks}


def book(containers: Iterable[State]) -> Book:
    """Return the leases that hold of these containers; without looking if none of them has a network."""
    from runtime import places
    from runtime.network import bridge, leases, slirp

    connected = [each for each in containers if NETWORK in each.annotations]
    by_program = [each for each in connected if slirp.used(each)]
    known = len(by_program) < len(connected) and not places.unprivileged()
    found = bridge.current() if known else leases.Book()
    if not by_program:
        return found
    networks = {**found.networks, slirp.NAME: slirp.NETWORK}
    return found.replace(networks=networks, leases=(*found.leases, *map(slirp.lease, by_program)))

"""Interfaces, addresses and routes, as lines for ``ip -batch``."""

from __future__ import annotations

from runtime.network import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runtime.network.leases import Book, Lease
    from runtime.network.network import Network


def _mtu(network: Network) -> str:
    return f" mtu {network.mtu}" if network.mtu else ""


def bridge(network: Network) -> list[str]:
    """Return how a network's bridge is made. With an address of its own it keeps that as ports come and go."""
    found = addresses.number(network.gateway)
    assert found is not None
    name = network.bridge
    return [
        f"link add name {name}{_mtu(network)} address {addresses.mac(found[1])} type bridge",
        *(
            f"address add {gateway}/{subnet.bits} dev {name}{' nodad' if subnet.version == 6 else ''}"
            for subnet, gateway in network.subnets
        ),
        f"link set dev {name} up",
    ]


def cable(network: Network, lease: Lease, pid: int) -> list[str]:
    """Return how the pair of interfaces comes to be, one end of it in the network namespace of ``pid``."""
    mtu = _mtu(network)
    return [
        f"link add {lease.interface}{mtu} type veth peer name {lease.inside}{mtu} address {lease.mac} netns {pid}",
        f"link set dev {lease.interface} master {lease.bridge} up",
    ]


def hairpins(mine: Iterable[Lease]) -> list[str]:
    """Return what lets a container reach the ports it publishes itself.

    That goes back to where it came from, which bridges don't do unless told (br_netfilter translates addresses before
    the bridge looks at them).
    """
    return [f"link set dev {lease.interface} type bridge_slave hairpin on" for lease in mine if lease.ports]


def inside(network: Network, lease: Lease) -> list[str]:
    """Return what the container's end gets."""
    return [
        *(
            f"address add {address}/{subnet.bits} dev {lease.inside}{' nodad' if subnet.version == 6 else ''}"
            for (subnet, _), address in zip(network.subnets, lease.addresses, strict=True)
        ),
        f"link set dev {lease.inside} up",
    ]


def ways(book: Book, mine: Iterable[Lease]) -> dict[int, tuple[str, str]]:
    """Return a container's way out by family: gateway and interface, of its first network that leads out."""
    found: dict[int, tuple[str, str]] = {}
    for lease in mine:
        network = book.networks[lease.bridge]
        for (subnet, gateway), _ in zip(network.subnets, lease.addresses, strict=False):
            if not network.internal:
                found.setdefault(subnet.version, (gateway, lease.inside))
    return found


def routes(before: Mapping[int, tuple[str, str]], after: Mapping[int, tuple[str, str]]) -> list[str]:
    """Return how the ways become others; one whose interface goes goes with it."""
    return [
        f"route replace default via {gateway} dev {name}"
        for version, (gateway, name) in after.items()
        if before.get(version) != (gateway, name)
    ]


def removal(interfaces: Sequence[str], group: int) -> list[str]:
    """Return how interfaces go, of a pair both: all at once, for the kernel waits for each time as long.

    ``group`` is a number that no interface has.
    """
    if len(interfaces) == 1:
        return [f"link delete dev {interfaces[0]}"]
    return [*(f"link set dev {name} group {group}" for name in interfaces), f"link delete group {group}"]

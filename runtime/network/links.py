"""Interfaces, addresses and routes, as lines for ``ip -batch``."""

from __future__ import annotations

from runtime.network import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.network.leases import Lease
    from runtime.network.networks import Network

INSIDE = "eth0"
"""What the container calls its interface."""


def bridge(network: Network) -> list[str]:
    """Return how a network's bridge is made. With an address of its own it keeps that as ports come and go."""
    found = addresses.number(network.gateway)
    assert found is not None
    name = network.bridge
    return [
        f"link add {name} address {addresses.mac(found[1])} type bridge",
        *(
            f"address add {gateway}/{subnet.bits} dev {name}{' nodad' if subnet.version == 6 else ''}"
            for subnet, gateway in network.subnets
        ),
        f"link set {name} up",
    ]


def cable(lease: Lease, pid: int) -> list[str]:
    """Return how the pair of interfaces comes to be, one end of it in the network namespace of ``pid``.

    What a container sends to a port it publishes itself goes back to where it came from, which bridges don't do
    unless told (br_netfilter translates addresses before the bridge looks at them).
    """
    hairpin = [f"link set {lease.interface} type bridge_slave hairpin on"] if lease.ports else []
    return [
        f"link add {lease.interface} type veth peer name {INSIDE} address {lease.mac} netns {pid}",
        f"link set {lease.interface} master {lease.bridge} up",
        *hairpin,
    ]


def inside(network: Network, lease: Lease) -> list[str]:
    """Return what the container's end gets; nothing leads out of an internal network."""
    pairs = [
        (subnet, gateway, address)
        for (subnet, gateway), address in zip(network.subnets, lease.addresses, strict=True)
    ]
    return [
        "link set lo up",
        *(
            f"address add {address}/{subnet.bits} dev {INSIDE}{' nodad' if subnet.version == 6 else ''}"
            for subnet, _, address in pairs
        ),
        f"link set {INSIDE} up",
        *(f"route add default via {gateway}" for _, gateway, _ in pairs if not network.internal),
    ]


def removal(interface: str) -> list[str]:
    """Return how an interface goes; of a pair both."""
    return [f"link delete {interface}"]

"""One network, and how a new one is decided of what is asked for."""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime import units
from runtime.errors import RunError
from runtime.network import addresses
from runtime.network.wish import DEFAULT, interface, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

RESERVED = ("none", "host", "default", "container", "cni")
PREFIX = "pyproc"
"""What the names of bridges begin with that nobody chose."""
FIRST = f"{PREFIX}0"
"""The default network's bridge."""
MTUS = range(68, 65536)
"""What IPv4 can do with, and what a bridge takes."""


class Network(Record):
    """One network. Addresses are text, subnets in CIDR notation; "" where it has no IPv6."""

    name: str
    bridge: str
    """The interface's name on the host."""
    subnet: str
    gateway: str
    """The bridge's own address."""
    subnet6: str = ""
    gateway6: str = ""
    internal: bool = False
    """Nothing leads out of it."""
    labels: Mapping[str, str] = {}
    created_nsec: int = 0
    """When it was made, in nanoseconds since 1970."""
    range: str = ""
    """The part of the subnet that addresses are taken from; "": all of it."""
    range6: str = ""
    mtu: int = 0
    """0: the kernel's own."""
    open: bool = False
    """Other networks that are, too, reach its containers, and they those."""

    @property
    def subnets(self) -> tuple[tuple[addresses.Subnet, str], ...]:
        """Each subnet and its gateway."""
        pairs = ((self.subnet, self.gateway), (self.subnet6, self.gateway6))
        return tuple((addresses.subnet(subnet), gateway) for subnet, gateway in pairs if subnet)

    def subnet_of(self, version: int) -> addresses.Subnet | None:
        """Return its subnet of a family."""
        return next((subnet for subnet, _ in self.subnets if subnet.version == version), None)

    @property
    def named(self) -> bool:
        """Whether its containers know one another by name."""
        return self.name != DEFAULT


class Asked(Record):
    """What ``pyproc network create`` was told."""

    name: str
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ipv6: bool = False
    internal: bool = False
    labels: Mapping[str, str] = {}
    ranges: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """``KEY=VALUE``."""


def _bridge(value: str, option: str) -> dict[str, Any]:
    name = interface(value, option)
    if name.startswith(PREFIX):
        raise RunError(f"{option}={value}: such names are for networks nobody chose one for", "choose another")
    return {"bridge": name}


def _mtu(value: str, option: str) -> dict[str, Any]:
    if not value.isdecimal() or int(value) not in MTUS:
        raise RunError(f"{option}={value}: not a length in bytes", f"give one of {MTUS.start} to {MTUS.stop - 1}")
    return {"mtu": int(value)}


OPTIONS: Mapping[str, Callable[[str, str], dict[str, Any]]] = {
    "com.docker.network.bridge.name": _bridge,
    "com.docker.network.driver.mtu": _mtu,
    "mtu": _mtu,
    "isolate": lambda value, option: {"open": not units.boolean(value, option)},
}
"""What ``--opt`` understands, and the fields it sets."""


def _options(texts: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in OPTIONS:
            raise RunError(f"--opt {text!r}: unknown", f"choose from {', '.join(OPTIONS)}")
        found |= OPTIONS[key](value, f"--opt {key}")
    return found


def _ranges(texts: Iterable[str], subnets: Mapping[int, addresses.Subnet]) -> dict[str, str]:
    """Return the parts of subnets that addresses are taken from, by field; raises an Error for one that is none."""
    found: dict[str, str] = {}
    for text in texts:
        part = addresses.subnet(text, "--ip-range")
        whole = subnets.get(part.version)
        field = "range" if part.version == 4 else "range6"
        if whole is None or not whole.first <= part.first <= part.last <= whole.last:
            raise RunError(f"--ip-range {text}: not in a subnet of the network", "give --subnet too")
        if field in found:
            raise RunError(f"--ip-range {text}: a second of IPv{part.version}", "give one of each family")
        found[field] = str(part)
    return found


def _gateway(subnet: addresses.Subnet, asked: Sequence[str]) -> str:
    own = [text for text in asked if (found := addresses.number(text)) and subnet.holds(*found)]
    if len(own) > 1:
        raise RunError(f"--gateway {own[1]}: the subnet {subnet} has one already", "give one for each subnet")
    return addresses.show(subnet.version, subnet.address(own[0], "--gateway") if own else subnet.first + 1)


def _subnets(
    asked: Asked, used: Sequence[tuple[str, addresses.Subnet]], random: bytes
) -> dict[int, addresses.Subnet]:
    """Return its subnets by family: those asked for, and what is free where none is."""
    chosen = [addresses.subnet(text) for text in asked.subnets]
    for subnet in chosen:
        for who, other in used:
            if subnet.overlaps(other):
                raise RunError(f"--subnet {subnet}: {who} has {other}", "choose another")
    found: dict[int, addresses.Subnet] = {}
    for subnet in chosen:
        if subnet.version in found:
            raise RunError(f"--subnet {subnet}: a second of IPv{subnet.version}", "give one of each family")
        found[subnet.version] = subnet
    if 4 not in found:
        found[4] = addresses.free(subnet for _, subnet in used)
    if asked.ipv6 and 6 not in found:
        found[6] = addresses.unique_local(random)
    return found


def decide(
    asked: Asked, there: Iterable[Network], routes: Iterable[addresses.Subnet], random: bytes, now_nsec: int
) -> Network:
    """Return the network that is asked for; raises an Error for a bad name or subnet, or one in use.

    ``random``: nine bytes that name the bridge and an IPv6 subnet nobody chose.
    """
    if not is_name(asked.name) or asked.name in RESERVED:
        raise RunError(f"{asked.name!r}: not a network's name", "use letters, digits, _ . and -")
    existing = list(there)
    if any(network.name == asked.name for network in existing):
        raise RunError(f"network {asked.name!r} exists", "choose another name, or remove it: pyproc network rm")
    used = [(f"network {network.name!r}", subnet) for network in existing for subnet, _ in network.subnets]
    used += [("a route of the host", subnet) for subnet in routes]
    found = _subnets(asked, used, random[:5])
    for text in asked.gateways:
        number = addresses.number(text)
        if number is None or not any(subnet.holds(*number) for subnet in found.values()):
            raise RunError(f"--gateway {text}: not in a subnet of the network", "give --subnet too")
    special = _options(asked.options)
    for network in existing:
        if network.bridge == special.get("bridge"):
            raise RunError(f"--opt bridge.name={network.bridge}: network {network.name!r} has it", "choose another")
    made = Network(
        asked.name,
        FIRST if asked.name == DEFAULT else f"{PREFIX}-{random[5:9].hex()}",
        str(found[4]),
        _gateway(found[4], asked.gateways),
        str(found[6]) if 6 in found else "",
        _gateway(found[6], asked.gateways) if 6 in found else "",
        asked.internal,
        asked.labels,
        now_nsec,
    )
    return made.replace(**_ranges(asked.ranges, found), **special)

"""The networks there are: ``STORAGE/networks/NAME.json``, and how a new one is decided.

The default network comes to be when it is first used.
"""

from __future__ import annotations

import os
import time

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from runtime import state
from runtime.errors import RunError
from runtime.network import addresses
from runtime.network.wish import DEFAULT, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

RESERVED = ("none", "host", "default", "container", "cni")
FIRST = "pyproc0"
"""The default network's bridge."""


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

    @property
    def subnets(self) -> tuple[tuple[addresses.Subnet, str], ...]:
        """Each subnet and its gateway."""
        pairs = ((self.subnet, self.gateway), (self.subnet6, self.gateway6))
        return tuple((addresses.subnet(subnet), gateway) for subnet, gateway in pairs if subnet)

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


def _gateway(subnet: addresses.Subnet, asked: Sequence[str]) -> str:
    own = [text for text in asked if (found := addresses.number(text)) and subnet.holds(*found)]
    if len(own) > 1:
        raise RunError(f"--gateway {own[1]}: the subnet {subnet} has one already", "give one for each subnet")
    return addresses.show(subnet.version, subnet.address(own[0], "--gateway") if own else subnet.first + 1)


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
        found[6] = addresses.unique_local(random[:5])
    for text in asked.gateways:
        number = addresses.number(text)
        if number is None or not any(subnet.holds(*number) for subnet in found.values()):
            raise RunError(f"--gateway {text}: not in a subnet of the network", "give --subnet too")
    return Network(
        asked.name,
        FIRST if asked.name == DEFAULT else f"pyproc-{random[5:9].hex()}",
        str(found[4]),
        _gateway(found[4], asked.gateways),
        str(found[6]) if 6 in found else "",
        _gateway(found[6], asked.gateways) if 6 in found else "",
        asked.internal,
        asked.labels,
        now_nsec,
    )


def directory(storage: str) -> str:
    """Return where the networks are written down."""
    return f"{storage}/networks"


def read(value: Any) -> Network:
    """Return the network of a JSON value; raises ValueError for anything else."""
    needed = ("name", "bridge", "subnet", "gateway")
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in needed):
        raise ValueError(value)
    return Network.known(value)


def all_(storage: str) -> list[Network]:
    """Return the networks that were made, in order of their names; raises an Error naming a file that is none."""
    found = []
    try:
        names = sorted(os.listdir(directory(storage)))
    except FileNotFoundError:
        return []
    for name in names:
        if not name.endswith(".json"):
            continue
        path = f"{directory(storage)}/{name}"
        try:
            with open(path, "rb") as file:
                found.append(read(json_text.loads(file.read())))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Error(reason(error), "use the --storage the network was made with, as root") from error
        except ValueError:
            raise Error(f"{path}: not a network", f"remove it, and make {name[:-5]!r} anew") from None
    return found


def missing(name: str) -> RunError:
    """Return the Error for a network that is not there."""
    return RunError(f"network {name!r} does not exist", "pyproc network ls shows those that do")


def find(storage: str, name: str) -> Network:
    """Return a network; raises an Error if it does not exist."""
    for network in all_(storage):
        if network.name == name:
            return network
    raise missing(name)


def create(storage: str, asked: Asked) -> Network:
    """Make a network, on paper: its bridge comes with its first container. The caller holds the lock of leases."""
    with open("/proc/self/net/route", encoding="utf-8") as file:
        routes = list(addresses.routes(file.read()))
    network = decide(asked, all_(storage), routes, os.urandom(9), time.time_ns())
    os.makedirs(directory(storage), mode=0o700, exist_ok=True)
    state.write(f"{directory(storage)}/{network.name}.json", network.as_dict())
    return network


def use(storage: str, name: str, *, ipv6: bool) -> Network:
    """Return a network to connect to; the default one is made if it is not there. ``ipv6``: the host has it."""
    if name == DEFAULT and not os.path.exists(f"{directory(storage)}/{name}.json"):
        return create(storage, Asked(DEFAULT, ipv6=ipv6))
    network = find(storage, name)
    if network.subnet6 and not ipv6:
        if name != DEFAULT:
            raise RunError(
                f"network {name!r} has IPv6, and this host has not", "sysctl net.ipv6.conf.all.disable_ipv6=0"
            )
        return network.replace(subnet6="", gateway6="")
    return network


def as_up(network: Network, up: Network | None) -> Network:
    """Return a network with the addresses its bridge was made with, if that is ``up``.

    The default network of every --storage has the same bridge, and may have been given another subnet.
    """
    if up is None:
        return network
    six = {"subnet6": up.subnet6, "gateway6": up.gateway6} if network.subnet6 else {}
    return network.replace(subnet=up.subnet, gateway=up.gateway, **six)


def remove(storage: str, name: str) -> None:
    """Forget a network; the caller has seen that nobody uses it."""
    os.unlink(f"{directory(storage)}/{name}.json")

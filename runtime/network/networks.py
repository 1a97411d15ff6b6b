"""The networks there are: ``STORAGE/networks/NAME.json``.

The default network comes to be when it is first used.
"""

from __future__ import annotations

import os
import time

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from runtime import state
from runtime.errors import RunError
from runtime.network import addresses
from runtime.network.network import Asked, Network, decide
from runtime.network.wish import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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

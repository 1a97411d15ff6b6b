"""``pyproc network``: the networks containers can be connected to."""

from __future__ import annotations

import sys
import time

from runtime import listed, options, places
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Group, Verb, act
from runtime.verbs.inspect import FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from runtime.command_line import Parsed
    from runtime.network.leases import Book
    from runtime.network.network import Network
    from runtime.verbs import Chosen

OPTIONS = ("mtu=N", "isolate=BOOL", "com.docker.network.bridge.name=NAME")
LISTING = listed.Listing(
    {
        "Name": "NAME", "Subnet": "SUBNET", "Subnet6": "IPV6", "Interface": "INTERFACE", "Containers": "CONTAINERS",
        "ID": "NETWORK ID", "Driver": "DRIVER", "Scope": "SCOPE", "Internal": "INTERNAL", "Labels": "LABELS",
        "Label": "", "CreatedAt": "CREATED", "MTU": "MTU", "Isolated": "ISOLATED",
    },
    ("Name", "Subnet", "Subnet6", "Interface", "Containers"),
    {
        "name": lambda found, value: value in found["name"],
        "id": lambda found, value: found["name"].startswith(value),
        "label": lambda found, value: listed.labelled(found["labels"], value),
        "dangling": lambda found, value: (not found["containers"]) == (value == "true"),
        "driver": lambda _found, value: value == DRIVER,
    },
    {"name": lambda found: found["name"], "created": lambda found: found["created"]},
    {"dangling": ("true", "false")},
)  # fmt: skip
DRIVER = "bridge"


def describe(network: Network, book: Book) -> dict[str, Any]:
    """Return what is said of a network."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(network.created_nsec / 1e9))
    containers = {
        lease.id: {"addresses": list(lease.addresses), "mac": lease.mac, "aliases": list(lease.names[1:]),
                   "interface": lease.inside, "ports": list(map(str, lease.ports))}
        for lease in book.of(network.bridge)
    }  # fmt: skip
    return {
        "name": network.name,
        "created": created,
        "interface": network.bridge,
        "subnets": [
            {
                "subnet": str(subnet),
                "gateway": gateway,
                "range": network.range if subnet.version == 4 else network.range6,
            }
            for subnet, gateway in network.subnets
        ],
        "internal": network.internal,
        "isolated": not network.open,
        "mtu": network.mtu or None,
        "labels": dict(network.labels),
        "containers": containers,
    }


def _all(parsed: Parsed) -> list[dict[str, Any]]:
    from runtime.network import bridge, networks

    book = bridge.current()
    return [describe(network, book) for network in networks.all_(parsed["storage"])]


def create(parsed: Parsed) -> None:
    """Make a network, and print its name."""
    from runtime.network import leases, network, networks

    labels = dict(text.partition("=")[::2] for text in parsed["label"])
    asked = network.Asked(
        parsed.rest[0], parsed["subnet"], parsed["gateway"], parsed["ipv6"], parsed["internal"], labels,
        parsed["ip_range"], parsed["opt"],
    )  # fmt: skip
    with leases.Locked():
        made = networks.create(parsed["storage"], asked)
    _print(parsed, describe(made, leases.Book()), f"{made.name}\n")


def inspect(parsed: Parsed) -> None:
    """Print all that is known of networks."""
    from runtime.network import networks
    from runtime.verbs.inspect import show

    found = {each["name"]: each for each in _all(parsed)}
    for name in parsed.rest:
        if name not in found:
            raise networks.missing(name)
    show(parsed, [found[name] for name in parsed.rest])


def ls(parsed: Parsed) -> None:
    """Print the table, the names, the JSON or the template's lines."""
    asked = LISTING.asked(parsed["filter"])
    LISTING.show(parsed, [each for each in _all(parsed) if LISTING.fits(each, asked)], row)


def row(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of a network, as Docker has it."""
    subnets = [each["subnet"] for each in found["subnets"]]
    return {
        "Name": found["name"],
        "Subnet": subnets[0],
        "Subnet6": "".join(subnets[1:]),
        "Interface": found["interface"],
        "Containers": str(len(found["containers"])),
        "ID": found["name"],
        "Driver": DRIVER,
        "Scope": "local",
        "Internal": found["internal"],
        "MTU": found["mtu"],
        "Isolated": found["isolated"],
        "Labels": listed.pairs(found["labels"]),
        "Label": found["labels"],
        "CreatedAt": found["created"],
    }


def reload(_parsed: Parsed) -> None:
    """Let nftables have our rules again."""
    from runtime.network import bridge

    bridge.reload()


def rm(parsed: Parsed) -> None:
    """Remove networks nobody is connected to, all or none, and print their names."""
    from runtime.network import networks

    there = {network.name for network in networks.all_(parsed["storage"])}
    _remove(parsed, [name for name in parsed.rest if name in there or not parsed["force"]])


def connect(parsed: Parsed) -> None:
    """Put a container into a network."""
    from runtime.lifecycle import joining
    from runtime.network import wish

    end = wish.end(parsed.rest[0], parsed["ip"], parsed["ip6"], parsed["mac_address"], parsed["alias"])
    with finding.Locked(parsed, parsed.rest[1]) as held:
        joining.connect(held, end)


def disconnect(parsed: Parsed) -> None:
    """Take a container out of a network."""
    from runtime.lifecycle import joining

    with finding.Locked(parsed, parsed.rest[1]) as held:
        joining.disconnect(held, parsed.rest[0], force=parsed["force"])


def prune(parsed: Parsed) -> None:
    """Remove the networks nobody is connected to, but for the default one, and print their names."""
    _remove(parsed, None)


def _remove(parsed: Parsed, names: Iterable[str] | None) -> None:
    from runtime.lifecycle import joining
    from runtime.network import bridge

    removed = bridge.remove(parsed["storage"], names, joining.remembered(parsed["storage"]))
    _print(parsed, removed, "".join(f"{name}\n" for name in removed))


def _print(parsed: Parsed, value: object, text: str) -> None:
    if parsed["json"]:
        import json

        text = json.dumps(value) + "\n"
    sys.stdout.write(text)


IP, IP6, MAC = (option for option in options.NETWORK if option.name in ("ip", "ip6", "mac_address"))
VERBS = (
    (
        Verb(
            "connect",
            "Put a container into a network more, now and when it starts again.",
            "NAME ID",
            2,
            2,
            (IP, IP6, MAC, Option(("--alias",), "Further name in that network", "NAME", many=True)),
        ),
        connect,
    ),
    (
        Verb(
            "create",
            "Make a network: its containers know one another by name, and no other network's.",
            "NAME",
            1,
            1,
            (
                Option(("--subnet",), "Its addresses (default: a subnet that is free)", "CIDR", many=True),
                Option(("--gateway",), "The host's address in it (default: the first)", "ADDRESS", many=True),
                Option(("--ip-range",), "The part of it that containers get theirs from", "CIDR", many=True),
                Option(("--ipv6",), "Give it an IPv6 subnet too", kind="flag"),
                Option(("--internal",), "Let nothing lead out of it", kind="flag"),
                Option(("--label",), "Note something about it", "NAME[=VALUE]", many=True),
                Option(("-o", "--opt"), f"Option: {', '.join(OPTIONS)}", "KEY=VALUE", many=True),
                Option(("-d", "--driver"), "Its kind", "bridge", choices=("bridge",)),
                JSON,
            ),
        ),
        create,
    ),
    (
        Verb(
            "disconnect",
            "Take a container out of a network, now and for when it starts again.",
            "NAME ID",
            2,
            2,
            (Option(("-f", "--force"), "Accept that it is not there", kind="flag"),),
        ),
        disconnect,
    ),
    (Verb("inspect", "Show all that is known of networks, as JSON.", "NAME...", 1, None, (FORMAT, JSON)), inspect),
    (
        Verb(
            "ls",
            "List networks.",
            "",
            0,
            0,
            (*LISTING.options(short="--filter"), JSON),
        ),
        ls,
    ),
    (Verb("prune", "Remove the networks that no container is connected to.", "", 0, 0, (JSON,)), prune),
    (Verb("reload", "Tell the firewall all rules again, after it has forgotten them.", "", 0, 0), reload),
    (
        Verb(
            "rm",
            "Remove networks that no container is connected to.",
            "NAME...",
            1,
            None,
            (Option(("-f", "--force"), "Accept that they are gone", kind="flag"), JSON),
        ),
        rm,
    ),
)
VERB = Group("network", "Connect containers with one another and the world.", tuple(verb for verb, _ in VERBS))


def run(chosen: Chosen) -> int:
    """Do what the word after ``network`` says."""
    if places.unprivileged():
        raise RunError("network: interfaces of the host are root's to make", "--network slirp4netns needs no root")
    return act(chosen, VERBS)

"""``pyproc network``: the networks containers can be connected to."""

from __future__ import annotations

import sys
import time

from runtime import places
from runtime.command_line import Option
from runtime.errors import RunError
from runtime.verbs import Group, Verb
from runtime.verbs.pull import JSON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from runtime.command_line import Parsed
    from runtime.network.leases import Book
    from runtime.network.networks import Network

COLUMNS = ("NAME", "SUBNET", "IPV6", "INTERFACE", "CONTAINERS")


def describe(network: Network, book: Book) -> dict[str, Any]:
    """Return what is said of a network."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(network.created_nsec / 1e9))
    containers = {
        lease.id: {"addresses": list(lease.addresses), "mac": lease.mac, "aliases": list(lease.names[1:]),
                   "ports": list(map(str, lease.ports))}
        for lease in book.of(network.bridge)
    }  # fmt: skip
    return {
        "name": network.name,
        "created": created,
        "interface": network.bridge,
        "subnets": [{"subnet": str(subnet), "gateway": gateway} for subnet, gateway in network.subnets],
        "internal": network.internal,
        "labels": dict(network.labels),
        "containers": containers,
    }


def _all(parsed: Parsed) -> list[dict[str, Any]]:
    from runtime.network import bridge, networks

    book = bridge.current()
    return [describe(network, book) for network in networks.all_(parsed["storage"])]


def create(parsed: Parsed) -> None:
    """Make a network, and print its name."""
    from runtime.network import leases, networks

    labels = dict(text.partition("=")[::2] for text in parsed["label"])
    asked = networks.Asked(
        parsed.rest[0], parsed["subnet"], parsed["gateway"], parsed["ipv6"], parsed["internal"], labels
    )
    with leases.Locked():
        made = networks.create(parsed["storage"], asked)
    _print(parsed, describe(made, leases.Book()), f"{made.name}\n")


def inspect(parsed: Parsed) -> None:
    """Print all that is known of networks, as JSON."""
    import json

    from runtime.network import networks

    found = {each["name"]: each for each in _all(parsed)}
    for name in parsed.rest:
        if name not in found:
            raise networks.missing(name)
    sys.stdout.write(json.dumps([found[name] for name in parsed.rest], indent=2) + "\n")


def ls(parsed: Parsed) -> None:
    """Print the table, the names or the JSON."""
    from runtime.verbs.list import table

    found = _all(parsed)
    if parsed["quiet"]:
        _print(parsed, [each["name"] for each in found], "".join(f"{each['name']}\n" for each in found))
        return
    _print(parsed, found, table(map(_row, found), COLUMNS))


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    subnets = [each["subnet"] for each in found["subnets"]]
    return found["name"], subnets[0], "".join(subnets[1:]), found["interface"], str(len(found["containers"]))


def reload(_parsed: Parsed) -> None:
    """Let nftables have our rules again."""
    from runtime.network import bridge

    bridge.reload()


def rm(parsed: Parsed) -> None:
    """Remove networks nobody is connected to, all or none, and print their names."""
    _remove(parsed, parsed.rest)


def prune(parsed: Parsed) -> None:
    """Remove the networks nobody is connected to, but for the default one, and print their names."""
    _remove(parsed, None)


def _remove(parsed: Parsed, names: Iterable[str] | None) -> None:
    from runtime.network import bridge

    removed = bridge.remove(parsed["storage"], names)
    _print(parsed, removed, "".join(f"{name}\n" for name in removed))


def _print(parsed: Parsed, value: object, text: str) -> None:
    if parsed["json"]:
        import json

        text = json.dumps(value) + "\n"
    sys.stdout.write(text)


VERBS = (
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
                Option(("--ipv6",), "Give it an IPv6 subnet too", kind="flag"),
                Option(("--internal",), "Let nothing lead out of it", kind="flag"),
                Option(("--label",), "Note something about it", "NAME[=VALUE]", many=True),
                JSON,
            ),
        ),
        create,
    ),
    (Verb("inspect", "Show all that is known of networks, as JSON.", "NAME...", 1, None), inspect),
    (
        Verb(
            "ls",
            "List networks.",
            "",
            0,
            0,
            (Option(("-q", "--quiet"), "Show names only", kind="flag"), JSON),
        ),
        ls,
    ),
    (Verb("prune", "Remove the networks that no container is connected to.", "", 0, 0, (JSON,)), prune),
    (Verb("reload", "Tell the firewall all rules again, after it has forgotten them.", "", 0, 0), reload),
    (Verb("rm", "Remove networks that no container is connected to.", "NAME...", 1, None, (JSON,)), rm),
)
VERB = Group("network", "Connect containers with one another and the world.", tuple(verb for verb, _ in VERBS))


def run(args: Sequence[str]) -> int:
    """Do what the word after ``network`` says."""
    chosen = VERB.read(args)
    if chosen is None:
        return 0
    if places.unprivileged():
        raise RunError(
            "network: interfaces of the host are root's to make", "use --network host or none, or ask root"
        )
    verb, parsed = chosen
    for each, act in VERBS:
        if each.name == verb.name:
            act(parsed)
    return 0

"""What the options say of a container's network."""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime import units
from runtime.errors import RunError
from runtime.network import addresses, ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

DEFAULT = "bridge"
"""The network that is always there."""
CNI = "cni:"
ONLY = ("publish", "ip", "ip6", "mac_address", "network_alias")
"""The options that need a network of the container's own."""
WORD = units.WORD | frozenset("_.-")


class Wish(Record):
    """A network, and what is wanted there."""

    name: str
    cni: bool = False
    """It is made by CNI plugins, of a configuration of that name."""
    ports: tuple[ports.Published, ...] = ()
    address: str = ""
    address6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    hostname: str = ""
    gateways: tuple[str, ...] = ()
    """Names for the gateway (``--add-host NAME:host-gateway``)."""


def is_name(text: str) -> bool:
    """Say whether a text can be the name of a network or a host."""
    return 0 < len(text) <= 63 and text[0] not in "-." and WORD.issuperset(text)


def mac_address(text: str) -> str:
    """Return a hardware address for one interface; raises an Error naming it."""
    parts = text.replace("-", ":").split(":")
    try:
        value = [int(part, 16) for part in parts if len(part) == 2]
    except ValueError:
        value = []
    if len(value) != 6 or len(parts) != 6 or value[0] & 1 or not any(value):
        raise RunError(f"--mac-address {text!r}: not an interface's address", "write it as 02:42:ac:11:00:02")
    return ":".join(f"{part:02x}" for part in value)


def _address(options: Mapping[str, Any], name: str, version: int) -> str:
    text = options[name]
    if text is None:
        return ""
    found = addresses.number(text)
    if found is None or found[0] != version:
        raise RunError(f"--{name} {text!r}: not an IPv{version} address", f"give one of the network's IPv{version}")
    return addresses.show(*found)


def read(options: Mapping[str, Any], hostname: str, gateways: tuple[str, ...] = ()) -> Wish | None:
    """Return what is asked for; None where the container gets no network of its own. Raises Errors for nonsense."""
    name = options["network"]
    if name in ("none", "host") or name.startswith("container:"):
        for option in ONLY:
            if options[option]:
                flag = f"--{option.replace('_', '-')}"
                raise RunError(f"{flag} with --network {name}: it has no address of its own", "use --network bridge")
        return None
    cni, name = name.startswith(CNI), name.removeprefix(CNI)
    if not is_name(name):
        raise RunError(f"--network {options['network']!r}: not a network", "pyproc network ls shows those there are")
    if not cni and name == DEFAULT and options["network_alias"]:
        raise RunError("--network-alias with --network bridge: names are not resolved there",
                       "make a network: pyproc network create NAME")  # fmt: skip
    for alias in options["network_alias"]:
        if not is_name(alias):
            raise RunError(f"--network-alias {alias!r}: not a host name", "use letters, digits, - and .")
    return Wish(
        name,
        cni,
        tuple(map(ports.parse, options["publish"])),
        _address(options, "ip", 4),
        _address(options, "ip6", 6),
        mac_address(options["mac_address"]) if options["mac_address"] else "",
        options["network_alias"],
        hostname,
        gateways,
    )

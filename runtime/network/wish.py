"""What the options say of a container's networks."""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime import units
from runtime.errors import RunError
from runtime.network import addresses, ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

DEFAULT = "bridge"
"""The network that is always there."""
CNI = "cni:"
SLIRP = "slirp4netns"
"""It is a program's, with one address and no neighbours."""
ADDRESSES = ("ip", "ip6", "mac_address", "network_alias")
ONLY = ("publish", "publish_all", *ADDRESSES)
"""The options that need a network of the container's own."""
WORD = units.WORD | frozenset("_.-")
MAX_INTERFACE = 15


class End(Record):
    """One network, and what is wanted there; "" and () for what is not said."""

    name: str
    address: str = ""
    address6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    interface: str = ""
    """What its interface is called inside."""


class Wish(Record):
    """Networks, the first of which that leads out being the way to everywhere, and what is wanted of all of them."""

    ends: tuple[End, ...]
    cni: bool = False
    """It is one, made by CNI plugins, of a configuration of that name."""
    ports: tuple[ports.Published, ...] = ()
    hostname: str = ""
    gateways: tuple[str, ...] = ()
    """Names for the gateway (``--add-host NAME:host-gateway``)."""
    by_program: bool = False
    """It is slirp4netns(1)."""


def is_name(text: str) -> bool:
    """Say whether a text can be the name of a network or a host."""
    return 0 < len(text) <= 63 and text[0] not in "-." and WORD.issuperset(text) and text != SLIRP


def interface(text: str, option: str) -> str:
    """Return the name of an interface; raises an Error for what the kernel would not take, or is always there.

    More than letters, digits, _ . and - the kernel would take, but not the lines that ip(8) and nft(8) are told.
    """
    if not is_name(text) or len(text) > MAX_INTERFACE or text == "lo":
        raise RunError(f"{option} {text!r}: no interface's name", f"use up to {MAX_INTERFACE} letters and digits")
    return text


def mac_address(text: str, option: str = "--mac-address") -> str:
    """Return a hardware address for one interface; raises an Error naming it."""
    parts = text.replace("-", ":").split(":")
    try:
        value = [int(part, 16) for part in parts if len(part) == 2]
    except ValueError:
        value = []
    if len(value) != 6 or len(parts) != 6 or value[0] & 1 or not any(value):
        raise RunError(f"{option} {text!r}: not an interface's address", "write it as 02:42:ac:11:00:02")
    return ":".join(f"{part:02x}" for part in value)


def address(text: str, option: str, version: int) -> str:
    """Return an address of a family; raises an Error for anything else."""
    found = addresses.number(text)
    if found is None or found[0] != version:
        raise RunError(f"{option} {text!r}: not an IPv{version} address", f"give one of the network's IPv{version}")
    return addresses.show(*found)


def alias(text: str, option: str) -> str:
    """Return a further name; raises an Error for what can't be one."""
    if not is_name(text):
        raise RunError(f"{option} {text!r}: not a host name", "use letters, digits, - and .")
    return text


def _either(text: str, option: str) -> dict[str, str]:
    version = 6 if ":" in text else 4
    return {("address" if version == 4 else "address6"): address(text, option, version)}


KEYS: Mapping[str, Callable[[str, str], dict[str, str]]] = {
    "ip": _either,
    "ip6": lambda text, option: {"address6": address(text, option, 6)},
    "mac": lambda text, option: {"mac": mac_address(text, option)},
    "mac-address": lambda text, option: {"mac": mac_address(text, option)},
    "interface_name": lambda text, option: {"interface": interface(text, option)},
}
"""What may be said of one network in ``--network``, beside ``alias``; Podman's words and Docker's."""


def _end(name: str, pairs: Iterable[str], text: str) -> End:
    """Return a network and what is wanted there; raises an Error naming what is not understood."""
    if not is_name(name):
        raise RunError(f"--network {text!r}: {name!r} is no network", "pyproc network ls shows those there are")
    found: dict[str, str] = {}
    aliases: list[str] = []
    for pair in pairs:
        key, _, value = pair.partition("=")
        option = f"--network {name}: {key}"
        if key == "alias":
            aliases.append(alias(value, option))
        elif key not in KEYS:
            raise RunError(f"--network {text!r}: {pair!r} is not understood", f"choose from alias, {', '.join(KEYS)}")
        else:
            found |= KEYS[key](value, option)
    return End(name, aliases=tuple(aliases), **found)


def end(name: str, ip: str | None, ip6: str | None, mac: str | None, aliases: Iterable[str]) -> End:
    """Return what ``pyproc network connect`` says."""
    return _end(name, (), name).replace(
        address=address(ip, "--ip", 4) if ip else "",
        address6=address(ip6, "--ip6", 6) if ip6 else "",
        mac=mac_address(mac) if mac else "",
        aliases=tuple(alias(each, "--alias") for each in aliases),
    )


def ends(text: str) -> tuple[End, ...]:
    """Return what one ``--network`` says.

    ``a``, ``a,b``, ``a:ip=10.1.2.3,alias=x`` as Podman has it, or ``name=a,ip=10.1.2.3`` as Docker does.
    """
    words = text.split(",")
    if "=" not in text:
        return tuple(_end(name, (), text) for name in words)
    first, *rest = words
    if first.startswith("name="):
        return (_end(first.removeprefix("name="), rest, text),)
    name, _, said = first.partition(":")
    return (_end(name, (said, *rest), text),)


def _single(options: Mapping[str, Any], found: tuple[End, ...]) -> End:
    """Return the one network with the addresses that options of their own say; raises an Error if it is not one."""
    given = [flag for flag in ("ip", "ip6", "mac_address") if options[flag]]
    if not given:
        return found[0]
    if len(found) > 1:
        hint = f"write --network {found[0].name}:ip=ADDRESS,mac=ADDRESS"
        raise RunError(f"--{given[0].replace('_', '-')}: there are {len(found)} networks", hint)
    said = end(found[0].name, options["ip"], options["ip6"], options["mac_address"], ())
    fields = {field: value for field in ("address", "address6", "mac") if (value := getattr(said, field))}
    return found[0].replace(**fields)


def _alone(options: Mapping[str, Any], gateways: tuple[str, ...]) -> None:
    """Raise an Error for what a program's network can't have."""
    if others := [text for text in options["network"] if text != SLIRP]:
        raise RunError(f"--network {SLIRP} and {others[0]}: it is the only one", "choose one")
    for option in ADDRESSES:
        if options[option]:
            flag = f"--{option.replace('_', '-')}"
            raise RunError(f"{flag} with --network {SLIRP}: it has one address, and nobody beside it", "leave it out")
    if gateways:
        raise RunError(f"--add-host {gateways[0]}:host-gateway: {SLIRP} leads to none", "leave it out")


def read(
    options: Mapping[str, Any], mode: str, hostname: str, gateways: tuple[str, ...] = (), exposed: Iterable[str] = ()
) -> Wish | None:
    """Return what is asked for; None where the container gets no network of its own. Raises Errors for nonsense.

    ``mode``: whose network it has if not its own (``joined.mode``); ``exposed``: the ports its image names.
    """
    if mode:
        for option in ONLY:
            if options[option]:
                flag = f"--{option.replace('_', '-')}"
                raise RunError(f"{flag} with --network {mode}: it has no address of its own", "use --network bridge")
        return None
    said = options["network"]
    published = tuple(map(ports.parse, options["publish"]))
    if options["publish_all"]:
        published += ports.remaining((*exposed, *options["expose"]), published)
    if SLIRP in said:
        _alone(options, gateways)
        return Wish((End(SLIRP),), ports=published, hostname=hostname, by_program=True)
    cni = any(text.startswith(CNI) for text in said)
    if cni and len({*said}) > 1:
        raise RunError(f"--network {said[0]} and {said[1]}: one by CNI plugins is the only one",
                       "its configuration may chain several plugins")  # fmt: skip
    found: dict[str, End] = {}
    for text in said:
        for end in ends(text.removeprefix(CNI)):
            if found.setdefault(end.name, end) != end:
                raise RunError(f"--network {end.name}: said twice", "say all of it at once")
    aliases = tuple(alias(text, "--network-alias") for text in options["network_alias"])
    unnamed = not cni and any(end.aliases for end in found.values() if end.name == DEFAULT)
    if unnamed or (aliases and {*found} == {DEFAULT} and not cni):
        raise RunError("--network-alias with --network bridge: names are not resolved there",
                       "make a network: pyproc network create NAME")  # fmt: skip
    several = (_single(options, tuple(found.values())), *tuple(found.values())[1:])
    taken = [end.interface for end in several if end.interface]
    if len({*taken}) < len(taken):
        raise RunError(f"interface_name={taken[-1]}: said of two networks", "each needs its own")
    return Wish(
        tuple(
            end.replace(aliases=(*end.aliases, *aliases)) if cni or end.name != DEFAULT else end for end in several
        ),
        cni,
        published,
        hostname,
        gateways,
    )

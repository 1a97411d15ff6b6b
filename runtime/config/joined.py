"""The namespaces, and with them the names, that options give a container: its own, the host's or another's."""

from __future__ import annotations

from runtime import options as declared
from runtime import places, state
from runtime.command_line import defaults
from runtime.errors import RunError
from runtime.request import Names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.command_line import Parsed
    from runtime.network.wish import Wish
    from runtime.request import Request
    from runtime.state import State

OTHER = "container:"
JOINED = {"network": "io.lxcfs-py.joined.network", "pid": "io.lxcfs-py.joined.pid"}
"""By kind of namespace the annotation that names the container whose it is: at the next start it is found by that."""
HOSTS = {"uts": "uts", "ipc": "ipc", "cgroup": "cgroupns"}
"""Kinds that may be the host's, by the option that says so."""
FILES = {"network": "net", "pid": "pid"}
"""What they are called in /proc/PID/ns."""
GATEWAY = "host-gateway"
RESOLVER = "10.0.2.3"
"""Where slirp4netns(1) answers for the host's name servers."""
USUAL = defaults(declared.NETWORK)
NOT_SHARED = ("dns", "dns_search", "dns_option", "add_host", "hostname")
"""What a container can't have of its own in another's network, as its files of /etc are the other's."""


def mode(options: Parsed) -> str:
    """Return whose network it has: ``none``, ``host``, ``container:NAME``; "" for networks of its own.

    Raises an Error if one of these is to be had beside another.
    """
    said = dict.fromkeys(options["network"] or ("none",))
    whose = next((text for text in said if text in ("none", "host") or text.startswith(OTHER)), "")
    if whose and len(said) > 1:
        another = next(text for text in said if text != whose)
        raise RunError(f"--network {whose} and --network {another}: it is one or the other", "leave one out")
    return whose


def other(root: str, option: str, text: str) -> State | None:
    """Return the container ``container:NAME`` names, None for another text; raises an Error if it doesn't run."""
    if not text.startswith(OTHER):
        return None
    id_ = state.find(root, text.removeprefix(OTHER))
    found = state.load(root, id_)
    if state.status(root, found) not in (state.CREATED, state.RUNNING):
        raise RunError(f"{option} {text}: it does not run", f"start it first; pyproc state {id_} tells what it is")
    return found


def kinds(options: Parsed, *, time: bool) -> list[dict[str, str]]:
    """Return ``linux.namespaces``; raises an Error for another container's that can't be had."""
    if options["pid"] and declared.manager(options) == "disabled":
        raise RunError(
            f"--pid {options['pid']} without a cgroup: nothing tells its processes", "leave out one of both"
        )
    shared = {kind for kind, option in HOSTS.items() if options[option] == "host"}
    usual = ("mount", "uts", "ipc", "cgroup", *(["time"] if time else []))
    found = [{"type": kind} for kind in usual if kind not in shared]
    for kind, text in (("pid", options["pid"]), ("network", mode(options))):
        there = other(options["root"], f"--{kind}", text) if text else None
        if there is not None:
            found.append({"type": kind, "path": _path(there, kind)})
        elif text != "host":
            found.append({"type": kind})
    if options["pid"] not in (None, "host") and not options["pid"].startswith(OTHER):
        raise RunError(f"--pid {options['pid']!r}: unknown value", "choose from host, container:NAME")
    return found


def _path(there: State, kind: str) -> str:
    return f"/proc/{there.pid}/ns/{FILES[kind]}"


def joins(options: Parsed) -> dict[str, str]:
    """Return those that name the containers whose namespaces it joins."""
    found = {}
    for kind, text in (("network", mode(options)), ("pid", options["pid"])):
        there = other(options["root"], f"--{kind}", text) if text else None
        if there is not None:
            found[JOINED[kind]] = there.id
    return found


def renewed(request: Request) -> Request:
    """Return a request with the namespaces that the containers it joins have now; raises an Error if one has none."""
    spec, linux = request.spec, request.spec["linux"]
    spaces, names = [], request.names
    for space in linux.get("namespaces", ()):
        name = spec["annotations"].get(JOINED.get(space["type"], ""))
        if name and space.get("path"):
            there = other(request.root, f"--{space['type']}", f"{OTHER}{name}")
            assert there is not None  # by the text
            spaces.append({**space, "path": _path(there, space["type"])})
            if space["type"] == "network":
                names = names.replace(shared=_etc(there))
        else:
            spaces.append(space)
    return request.replace(spec={**spec, "linux": {**linux, "namespaces": spaces}}, names=names)


def _etc(there: State) -> str:
    return f"{there.storage}/etc" if there.storage else ""


def hostname(options: Parsed, own: str) -> str:
    """Return the host name: another container's if it shares that one's network."""
    there = other(options["root"], "--network", mode(options))
    return str(state.config(there).get("hostname") or own) if there is not None and there.storage else own


def _address(text: str, option: str) -> str:
    from runtime.network import addresses  # only where an address is given

    found = addresses.number(text)
    if found is None:
        raise RunError(f"{option} {text!r}: not an address", "give an IPv4 or IPv6 address")
    return addresses.show(*found)


def _hosts(options: Parsed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the lines that --add-host asks for, and the names it gives the gateway."""
    lines, gateways = [], []
    for text in options["add_host"]:
        name, _, address = text.replace("=", ":", 1).partition(":")
        if not name or not address or any(c.isspace() for c in text):
            raise RunError(f"--add-host {text!r}: not a name and an address", "write it as db:10.1.2.3")
        if address == GATEWAY:
            gateways.append(name)
        else:
            lines.append(f"{_address(address.removeprefix('[').removesuffix(']'), '--add-host')}\t{name}\n")
    return tuple(lines), tuple(gateways)


def names(options: Parsed) -> Names:
    """Return what its files of /etc say."""
    there = other(options["root"], "--network", whose := mode(options))
    if there is not None:
        for option in NOT_SHARED:
            if options[option]:
                flag = f"--{option.replace('_', '-')}"
                raise RunError(f"{flag} with --network {whose}: it shares that one's", "leave it out")
        return Names(shared=_etc(there))
    servers = tuple(_address(text, "--dns") for text in options["dns"])
    if "slirp4netns" in options["network"] and not servers:
        servers = (RESOLVER,)
    return Names(_hosts(options)[0], servers, options["dns_search"], options["dns_option"])


def wish(options: Parsed, hostname_: str, exposed: tuple[str, ...] = ()) -> Wish | None:
    """Return what is wanted of networks; most containers want none, and need not know what there is.

    ``exposed``: the ports that an image names.
    """
    if all(options[name] == value for name, value in USUAL.items()):
        return None
    gateways = _hosts(options)[1]
    from runtime.network import wish as network  # only where something is said of a network

    found = network.read(options.values, mode(options), hostname_, gateways, exposed)
    if gateways and found is None:
        raise RunError(f"--add-host {gateways[0]}:{GATEWAY}: it has no gateway", "use --network bridge")
    if found is not None and not found.by_program and places.unprivileged():
        hint = "use --network slirp4netns, host or none, or ask root"
        raise RunError(f"--network {options['network'][0]}: interfaces of the host are root's to make", hint)
    return found


def resolv(asked: Names, host: str, upstream: str, *, network: bool | None) -> str:
    """Return resolv.conf: what is asked for, else the host's.

    ``network``: None, it is the host's; False, there is only the loopback; True, its own, where the host's own
    loopback can't be reached: of ``host`` only other servers will do, or those of ``upstream`` (systemd-resolved's).
    """
    if network is None and not (asked.dns or asked.search or asked.options):
        return host
    given = {"nameserver": asked.dns, "search": (" ".join(asked.search),) if asked.search else (), "options": ()}
    if asked.options:
        given["options"] = (" ".join(asked.options),)
    if network is not False:
        for text in (host, upstream):
            rows = [line.split(maxsplit=1) for line in text.splitlines()]
            for key, said in given.items():
                own = tuple(row[1].strip() for row in rows if len(row) == 2 and row[0] == key)
                if key == "nameserver" and network:
                    own = tuple(each for each in own if not each.startswith(("127.", "::1")))
                given[key] = said or own
    return "".join(f"{key} {value}\n" for key, values in given.items() for value in values if value != ".")

"""Published ports, as Docker writes them: ``[IP:][HOST]:CONTAINER[/udp]``, with ranges."""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime.errors import RunError
from runtime.network import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HINT = "write it as 8080:80, 127.0.0.1:8080:80, [::1]:8080:80, 8000-8009:80-89 or 53:53/udp"
EVERY = {4: "0.0.0.0", 6: "::"}  # noqa: S104  (as the user writes it)
PROTOCOLS = ("tcp", "udp")
RANDOM = range(49152, 65536)
"""Where a host's port is taken from if none is named (RFC 6335)."""


class Port(Record):
    """One port of a container that the host's answers for."""

    ip: str
    """The host's address; "" for all of both families, 0.0.0.0 or :: for all of one."""
    host: int
    container: int
    protocol: str

    @property
    def versions(self) -> tuple[int, ...]:
        """The families it is for."""
        return (4, 6) if not self.ip else (6,) if ":" in self.ip else (4,)

    @property
    def anywhere(self) -> bool:
        """Whether it is for all addresses of its families."""
        return self.ip in ("", *EVERY.values())

    def __str__(self) -> str:
        ip = f"[{self.ip}]:" if ":" in self.ip else f"{self.ip}:" if self.ip else ""
        return f"{ip}{self.host}:{self.container}/{self.protocol}"

    def clashes(self, other: Port) -> bool:
        """Say whether both can't be answered for."""
        same = self.host == other.host and self.protocol == other.protocol
        return same and (
            (self.anywhere or other.anywhere or self.ip == other.ip) and bool({*self.versions} & {*other.versions})
        )


class Published(Record):
    """What one -p says: a run of ports; ``host`` has as many, or is where the one port may be taken from."""

    text: str
    ip: str
    host: range
    container: range
    protocol: str


def _range(text: str, whole: str, option: str = "-p") -> range:
    first, dash, last = text.partition("-")
    if not all(part.isdecimal() and 0 < int(part) <= 65535 for part in (first, *((last,) if dash else ()))):
        raise RunError(f"{option} {whole!r}: {text!r} is no port", HINT)
    found = range(int(first), int(last or first) + 1)
    if not found:
        raise RunError(f"{option} {whole!r}: {text!r} ends before it begins", HINT)
    return found


def parse(text: str) -> Published:
    """Return what a -p says; raises an Error naming it."""
    rest, slash, protocol = text.partition("/")
    if slash and protocol not in PROTOCOLS:
        raise RunError(f"-p {text!r}: unknown protocol", f"choose from {', '.join(PROTOCOLS)}")
    rest, _, inside = rest.rpartition(":")
    ip, _, host = rest.rpartition(":")
    bracketed = ip.startswith("[") and ip.endswith("]")
    ip = ip[1:-1] if bracketed else ip
    found = addresses.number(ip) if ip else None
    if ip and (found is None or bracketed != (found[0] == 6)):
        raise RunError(f"-p {text!r}: {ip!r} is no address", HINT)
    container = _range(inside, text)
    asked = _range(host, text) if host else RANDOM
    if host and len(container) > 1 and len(asked) != len(container):
        raise RunError(f"-p {text!r}: {len(asked)} ports of the host for {len(container)}", "give as many")
    if found == (6, 1):
        raise RunError(f"-p {text!r}: the kernel leads ::1 to no container", "publish it on 127.0.0.1")
    return Published(text, addresses.show(*found) if found else "", asked, container, protocol or PROTOCOLS[0])


def _exposed(text: str) -> Iterable[tuple[int, str]]:
    inside, slash, protocol = text.partition("/")
    if slash and protocol not in PROTOCOLS:
        raise RunError(f"--expose {text!r}: unknown protocol", f"choose from {', '.join(PROTOCOLS)}")
    return ((port, protocol or PROTOCOLS[0]) for port in _range(inside, text, "--expose"))


def remaining(exposed: Iterable[str], published: Iterable[Published]) -> tuple[Published, ...]:
    """Return what -P publishes: each port that is exposed and not published, on a free one of the host."""
    done = {(port, each.protocol) for each in published for port in each.container}
    wanted = dict.fromkeys(port for text in exposed for port in _exposed(text) if port not in done)
    return tuple(Published(f"{port}/{kind}", "", RANDOM, range(port, port + 1), kind) for port, kind in wanted)


def resolve(
    asked: Iterable[Published], others: Iterable[tuple[str, Port]], busy: Callable[[Port], str]
) -> tuple[Port, ...]:
    """Return the ports that are published; ``others`` are those in use, with their container's name.

    ``busy`` says why the host can't give a port, "" if it can. Raises an Error naming the port and who has it.
    """
    used = list(others)
    found = []
    for each in asked:
        exact = len(each.host) == len(each.container)
        for index, inside in enumerate(each.container):
            problem = ""
            for outside in (each.host[index],) if exact else each.host:
                port = Port(each.ip, outside, inside, each.protocol)
                owner = next((name for name, other in used if port.clashes(other)), None)
                problem = f"container {owner!r} publishes it" if owner else busy(port)
                if not problem:
                    break
            else:
                what = f"port {each.host[index]}/{each.protocol}" if exact else "no port of the range is free"
                raise RunError(f"-p {each.text}: {what}: {problem}", "publish another, or stop who has it")
            used.append(("this one", port))
            found.append(port)
    return tuple(found)

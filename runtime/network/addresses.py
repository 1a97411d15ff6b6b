"""Addresses and subnets as numbers. (``ipaddress`` would be half of what a start with a network costs.)"""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Collection, Iterable, Iterator
else:
    import _socket

FAMILIES = {4: _socket.AF_INET, 6: _socket.AF_INET6}
WIDTH = {4: 32, 6: 128}
POOL = (
    *(f"10.{second}.0.0/16" for second in range(90, 120)),
    *(f"192.168.{third}.0/20" for third in range(0, 256, 16)),
)
"""Where subnets are taken from if nobody names one."""


def number(text: str) -> tuple[int, int] | None:
    """Return an address's version and number; None for what is no address."""
    for version, family in FAMILIES.items():
        try:
            return version, int.from_bytes(_socket.inet_pton(family, text), "big")
        except (OSError, ValueError):
            continue
    return None


def show(version: int, value: int) -> str:
    """Return an address as people write it."""
    return _socket.inet_ntop(FAMILIES[version], value.to_bytes(WIDTH[version] // 8, "big"))


class Subnet(Record):
    """The addresses that share the first ``bits`` bits."""

    version: int
    first: int
    bits: int

    def __str__(self) -> str:
        return f"{show(self.version, self.first)}/{self.bits}"

    @property
    def last(self) -> int:
        """The highest address: broadcast, for IPv4."""
        return self.first + (1 << (WIDTH[self.version] - self.bits)) - 1

    @property
    def usable(self) -> range:
        """What hosts can have: neither the subnet's own address nor the broadcast."""
        return range(self.first + 1, self.last + (self.version == 6))

    def holds(self, version: int, value: int) -> bool:
        """Say whether an address is one of it."""
        return version == self.version and self.first <= value <= self.last

    def overlaps(self, other: Subnet) -> bool:
        """Say whether they share addresses."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def address(self, text: str, option: str) -> int:
        """Return an address hosts of it can have; raises an Error naming the option."""
        found = number(text)
        if found is None:
            raise RunError(f"{option} {text!r}: not an address", f"give one of {self}")
        if found[0] != self.version or found[1] not in self.usable:
            raise RunError(f"{option} {text}: not in the subnet {self}", "give an address of it, or another network")
        return found[1]

    def pick(self, taken: Collection[int], after: int, part: Subnet | None = None) -> int | None:
        """Return the first free address after another, beginning anew at the end; None if all are taken.

        Only those of a ``part`` of it, if there is one.

        One that was given back is thus taken again as late as can be: somebody may still be speaking to it.
        """
        usable = self.usable
        if part is not None:
            usable = range(max(usable.start, part.first), min(usable.stop, part.last + 1))
        start = min(max(after + 1, usable.start), usable.stop)
        return next((n for part in (range(start, usable.stop), range(usable.start, start)) for n in part
                     if n not in taken), None)  # fmt: skip


def subnet(text: str, option: str = "--subnet") -> Subnet:
    """Return a subnet in CIDR notation; raises an Error naming the option and the text."""
    address, _, bits = text.partition("/")
    found = number(address)
    if found is None or not bits.isdecimal() or int(bits) > WIDTH[found[0]]:
        raise RunError(f"{option} {text!r}: not a subnet", "write it as 10.1.2.0/24 or fd00:1:2::/64")
    version, value = found
    free = WIDTH[version] - int(bits)
    if free < 2:
        raise RunError(f"{option} {text}: no room for a gateway and containers", "give at most 30 bits, or 126")
    if value & ((1 << free) - 1):
        right = Subnet(version, value >> free << free, int(bits))
        raise RunError(f"{option} {text}: that is an address of a subnet", f"write {right}")
    return Subnet(version, value, int(bits))


def routes(table: str) -> Iterator[Subnet]:
    """Return where /proc/net/route leads, but for everywhere (the numbers are in the host's byte order: x86's)."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        first, mask = (int.from_bytes(bytes.fromhex(fields[at]), "little") for at in (1, 7))
        if mask:
            yield Subnet(4, first, mask.bit_count())


def free(taken: Iterable[Subnet]) -> Subnet:
    """Return the first subnet of the pool that overlaps none; raises an Error if there is none."""
    used = list(taken)
    for each in map(subnet, POOL):
        if not any(each.overlaps(other) for other in used):
            return each
    raise RunError("no subnet is free: the host's routes and other networks have them all", "give --subnet")


def unique_local(random: bytes) -> Subnet:
    """Return a /64 for local use, of five random bytes (RFC 4193)."""
    return Subnet(6, int.from_bytes(b"\xfd" + random, "big") << 80, 64)


def mac(address: int, version: int = 4) -> str:
    """Return a hardware address made of an address: who gets the latter again keeps its neighbours' caches right."""
    low = address & 0xFFFFFFFF
    return f"02:{'42' if version == 4 else '46'}:" + low.to_bytes(4, "big").hex(":")

"""Network devices by rtnetlink(7): found, moved into another network namespace, given addresses, set up.

A few messages of fixed form; a library for all of netlink takes longer to import than a container to start.
"""

from __future__ import annotations

import os
from _struct import pack, unpack_from

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterator
    from typing import Self
else:
    import _socket

NEWLINK, GETLINK, NEWADDR, GETADDR = 16, 18, 20, 22
ERROR, DONE = 2, 3
REQUEST, ACK, EXCL, CREATE, DUMP = 1, 4, 0x200, 0x400, 0x300
"""include/uapi/linux/netlink.h, rtnetlink.h"""
IFNAME, NET_NS_FD = 3, 28
"""IFLA_*, include/uapi/linux/if_link.h"""
KEPT = {1: "address", 2: "local", 4: "broadcast", 9: "priority"}
FLAGS = 8
"""IFA_*, include/uapi/linux/if_addr.h"""
PERMANENT, KEPT_FLAGS = 0x80, 0x302
"""Of IFA_F_*; kept are NODAD, MANAGETEMPADDR and NOPREFIXROUTE."""
UP = 1
"""IFF_UP"""


class Address(Record):
    """One address of a device, as the kernel words it."""

    family: int
    prefix: int
    flags: int
    scope: int
    attributes: dict[int, bytes]


def _attribute(kind: int, value: bytes) -> bytes:
    return pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(data):
        length, kind = unpack_from("HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + -length % 4


class Netlink:
    """A socket in the network namespace that the calling process is in when it is made."""

    def __init__(self) -> None:
        self._socket: _socket.socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
        self._serial = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def _ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send a request and return what answers it, message by message without headers; raises OSError."""
        self._serial += 1
        self._socket.send(pack("IHHII", 16 + len(body), kind, flags | REQUEST, self._serial, 0) + body)
        found: list[bytes] = []
        while True:
            data, at = self._socket.recv(1 << 16), 0
            while at < len(data):
                length, kind, _, serial, _ = unpack_from("IHHII", data, at)
                payload, at = data[at + 16 : at + length], at + length + -length % 4
                if serial != self._serial:
                    continue
                if kind == DONE:
                    return found
                if kind == ERROR:
                    (number,) = unpack_from("i", payload)
                    if number:
                        raise OSError(-number, os.strerror(-number))
                    return found
                found.append(payload)
                if not flags & (DUMP | ACK):
                    return found

    def device(self, name: str) -> int:
        """Return a device's index; raises OSError if there is none of that name."""
        body = bytes(16) + _attribute(IFNAME, name.encode() + b"\0")
        (found,) = self._ask(GETLINK, 0, body)
        return int(unpack_from("i", found, 4)[0])

    def indices(self) -> set[int]:
        """Return the indices of all devices."""
        return {unpack_from("i", found, 4)[0] for found in self._ask(GETLINK, DUMP, bytes(16))}

    def addresses(self, index: int) -> list[Address]:
        """Return a device's addresses that are there to stay and meant for everybody."""
        found = []
        for message in self._ask(GETADDR, DUMP, bytes(8)):
            family, prefix, flags, scope, device = unpack_from("BBBBI", message)
            attributes = dict(_attributes(message, 8))
            flags = unpack_from("I", attributes[FLAGS])[0] if FLAGS in attributes else flags
            if device == index and scope == 0 and flags & PERMANENT:
                found.append(Address(family, prefix, flags, scope, attributes))
        return found

    def move(self, index: int, namespace: int, name: str) -> None:
        """Move a device into the namespace of a descriptor, under a name; ``eth%d`` lets the kernel number it."""
        attributes = _attribute(NET_NS_FD, pack("i", namespace)) + _attribute(IFNAME, name.encode() + b"\0")
        self._ask(NEWLINK, ACK, pack("BxHiII", 0, 0, index, 0, 0) + attributes)

    def add(self, index: int, address: Address) -> None:
        """Give a device an address."""
        rows = [(kind, value) for kind, value in address.attributes.items() if kind in KEPT]
        rows.append((FLAGS, pack("I", address.flags & KEPT_FLAGS)))
        body = pack("BBBBI", address.family, address.prefix, 0, address.scope, index)
        self._ask(NEWADDR, ACK | CREATE | EXCL, body + b"".join(_attribute(*row) for row in rows))

    def up(self, index: int) -> None:
        """Set a device up."""
        self._ask(NEWLINK, ACK, pack("BxHiII", 0, 0, index, UP, UP))

    def name(self, index: int) -> str:
        """Return the name of a device."""
        (found,) = self._ask(GETLINK, 0, pack("BxHiII", 0, 0, index, 0, 0))
        return dict(_attributes(found, 16))[IFNAME].rstrip(b"\0").decode()

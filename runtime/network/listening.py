"""Whether a program of the host listens on a port, and which."""

from __future__ import annotations

import os

from runtime.network import addresses, ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Iterator
else:
    import _socket

PROC = "/proc"
UNCONNECTED = {"tcp": "0A", "udp": "07"}
"""The states of sockets others can send to, as /proc/net/tcp and udp have them: TCP_LISTEN, TCP_CLOSE."""


def inodes(table: str, port: int, state: str) -> Iterator[str]:
    """Yield the inodes of sockets that wait on a port, of /proc/net/tcp, tcp6, udp or udp6."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == state:
            yield fields[9]


def holder(port: ports.Port, proc: str = PROC) -> str:
    """Return who listens on a port, as far as can be told: the first program, whose name and pid."""
    sockets = set()
    for version in port.versions:
        try:
            with open(f"{proc}/self/net/{port.protocol}{'6' if version == 6 else ''}", encoding="ascii") as file:
                found = inodes(file.read(), port.host, UNCONNECTED[port.protocol])
                sockets |= {f"socket:[{inode}]" for inode in found}
        except OSError:  # no such family
            continue
    for pid in filter(str.isdecimal, os.listdir(proc)) if sockets else ():
        try:
            entries = os.listdir(f"{proc}/{pid}/fd")
            if any(_link(f"{proc}/{pid}/fd/{entry}") in sockets for entry in entries):
                with open(f"{proc}/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    return f"{file.read().strip()} (pid {pid}) has it"
        except OSError:  # it has gone
            continue
    return "a program of the host has it"


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def busy(port: ports.Port) -> str:
    """Say why the host can't give a port: who listens there."""
    kind = _socket.SOCK_STREAM if port.protocol == "tcp" else _socket.SOCK_DGRAM
    for version in port.versions:
        family = addresses.FAMILIES[version]
        try:
            tried = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
        except OSError:  # this host has no such family
            continue
        try:
            if kind == _socket.SOCK_STREAM:  # what was closed a minute ago is no listener
                tried.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if version == 6:
                tried.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            tried.bind((port.ip or ports.EVERY[version], port.host))
        except OSError as error:
            return holder(port) if error.errno == 98 else f"{port.ip}: {error.strerror}".lower()
        finally:
            tried.close()
    return ""

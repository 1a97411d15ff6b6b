"""The control socket: root asks the daemon, a word a line, and gets one line of JSON."""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from lxcfs_py import control, sockets
from lxcfs_py.daemon import answering

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from trio.socket import SocketType

    from lxcfs_py.host import Host

_CREDENTIALS = struct.Struct("=iII")


def listen(host: Host) -> sockets.Listening:
    """Return the socket; raises OSError."""
    return sockets.listen(control.path(host))


def _may(connection: SocketType) -> bool:
    """Say whether who connected is root, or who we are."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(data)[1] in (0, os.geteuid())


async def serve(listening: sockets.Listening, requests: Mapping[str, Callable[[], Awaitable[Any]]]) -> None:
    """Answer each word by what its function returns; ``{"error": ...}`` for another word."""

    async def answer(question: bytes) -> bytes:
        word = question.partition(b"\n")[0].decode("utf-8", "replace").strip()
        found = await requests[word]() if word in requests else {"error": f"{word[:100]!r}: no such request"}
        return json.dumps(found).encode() + b"\n"

    await answering.serve(listening.socket, answering.Asked(b"\n", answer, _may))

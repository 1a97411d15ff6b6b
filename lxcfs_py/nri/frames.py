"""How messages travel: ttrpc's frames (its PROTOCOL.md) on two connections that share one socket, NRI's way.

Whichever side calls is the client of a connection: the runtime calls the plugin on one, the plugin the runtime on the
other. What the socket carries is pieces of either, each after its connection's number and its length.
"""

from __future__ import annotations

import struct

from lxcfs_py.nri.wire import Malformed
from lxcfs_py.record import Record

PLUGIN, RUNTIME = 1, 2
"""The connections, by who is called on them."""
REQUEST, RESPONSE = 1, 2
MOST = 4 << 20
"""What a message may have, by ttrpc's protocol."""
PIECE = 4096
"""What a runtime reads at once: a longer piece is an error to it."""
PIECES = struct.Struct(">II")
"""Connection, length."""
MESSAGES = struct.Struct(">IIBB")
"""Length, stream, kind, flags."""


class Frame(Record):
    """A message, whole; an answer has the stream of what it answers."""

    connection: int
    stream: int
    kind: int
    data: bytes = b""


def pack(frame: Frame) -> bytes:
    """Return what is sent."""
    whole = MESSAGES.pack(len(frame.data), frame.stream, frame.kind, 0) + frame.data
    pieces = (whole[at : at + PIECE] for at in range(0, len(whole), PIECE))
    return b"".join(PIECES.pack(frame.connection, len(piece)) + piece for piece in pieces)


class Reader:
    """Makes frames of what is received, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._socket = bytearray()
        self._connections = {PLUGIN: bytearray(), RUNTIME: bytearray()}

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole by now; raises Malformed for what can be none."""
        self._socket += data
        found: list[Frame] = []
        while len(self._socket) >= PIECES.size:
            connection, length = PIECES.unpack_from(self._socket)
            if length > MESSAGES.size + MOST:
                raise Malformed(f"a piece of {length} bytes")
            end = PIECES.size + length
            if len(self._socket) < end:
                break
            if connection in self._connections:  # those of others are nobody's
                self._connections[connection] += self._socket[PIECES.size : end]
                found += self._frames(connection)
            del self._socket[:end]
        return found

    def _frames(self, connection: int) -> list[Frame]:
        """Take the frames that are whole from a connection."""
        buffer, found = self._connections[connection], list[Frame]()
        while len(buffer) >= MESSAGES.size:
            length, stream, kind, _ = MESSAGES.unpack_from(buffer)
            if length > MOST:
                raise Malformed(f"a message of {length} bytes")
            end = MESSAGES.size + length
            if len(buffer) < end:
                break
            found.append(Frame(connection, stream, kind, bytes(buffer[MESSAGES.size : end])))
            del buffer[:end]
        return found

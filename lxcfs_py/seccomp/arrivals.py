"""How listeners of a user's come: the user's agent takes what is sent, and has the keeper hold what is a listener."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING

from lxcfs_py import sockets
from lxcfs_py.seccomp import protocol

if TYPE_CHECKING:
    from lxcfs_py.seccomp.protocol import Sent


class Arrival:
    """A connection: what came by it so far, and the slot for what it brings."""

    def __init__(self, connection: socket.socket, slot: int) -> None:
        self.connection, self.slot = connection, slot
        self.text, self.descriptors = b"", list[int]()

    def whole(self) -> bool:
        """Read on; return whether that was all. Raises OSError."""
        data, descriptors = sockets.recv_fds(self.connection, protocol.STATE_BYTES, protocol.FDS)
        self.text += data
        self.descriptors += descriptors
        much = len(self.text) > protocol.STATE_BYTES or len(self.descriptors) > protocol.FDS
        return not data or much or protocol.parse_state(self.text) is not None

    def listener(self) -> tuple[Sent, int] | None:
        """Return what was said and the listener, None if there is none."""
        sent = protocol.parse_state(self.text)
        if sent is None or not 0 <= sent.listener < len(self.descriptors):
            return None
        found = self.descriptors[sent.listener]
        return (sent, found) if protocol.is_listener(found) else None


class Arrivals:
    """The connections, by descriptor. The keeper ends those from which nothing comes."""

    def __init__(self, poll: select.epoll, control: socket.socket) -> None:
        self._poll, self._control = poll, control
        self._found: dict[int, Arrival] = {}

    def __contains__(self, descriptor: int) -> bool:
        """Say whether a descriptor is one of them."""
        return descriptor in self._found

    def begin(self, slot: int, descriptor: int) -> None:
        """Have a user send what it brings."""
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        self._found[descriptor] = Arrival(connection, slot)
        self._poll.register(descriptor, select.EPOLLIN)
        try:
            connection.send(protocol.READY)
        except OSError:  # it has gone: that is seen next
            return

    def take(self, descriptor: int) -> None:
        """Take what came by a connection."""
        arrival = self._found[descriptor]
        try:
            if not arrival.whole():
                return
        except BlockingIOError:
            return
        except OSError:  # it has gone; it counts what came before
            pass
        found = arrival.listener()
        del self._found[descriptor]
        self._poll.unregister(descriptor)
        try:
            if found is None:
                self._control.send(protocol.place(arrival.slot))
            else:
                sockets.send_fds(self._control, protocol.place(arrival.slot, found[0].id), [found[1]])
        except OSError:  # the keeper has gone
            pass
        arrival.connection.close()
        for each in arrival.descriptors:  # the last thing: one of a file system that never answers holds us up here
            os.close(each)

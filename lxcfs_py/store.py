"""Descriptors that outlive who uses them, in the queue of a socket (unix(7), SCM_RIGHTS).

Whoever keeps both ends of a datagram socket pair keeps what was sent into it: systemd's store, or the shell of
``daemon.holder``, which could never take a descriptor itself. So there is one way for both, that needs no name and
no place for each, and a descriptor is kept from one system call on. It is looked at with MSG_PEEK, which leaves it
there.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from lxcfs_py import sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Kept = tuple[Any, int]
    """What was said of a descriptor (anything that JSON has), and the descriptor."""

SO_PEEK_OFF = 42
"""Where the next look begins, and that it goes on from there (socket(7)); messages are skipped whole."""
MOST_FDS = 250
"""In a message: the kernel takes 253 (SCM_MAX_FD)."""
MESSAGE_BYTES = 1700
"""What is said in a message that holds many: with the kernel's 320 bytes for each, half a page."""
RECEIVE_BYTES = 1 << 16
QUEUE_BYTES = 212992
"""How much is asked for: what any kernel gives (net.core.wmem_max), and doubles, for 15,000 descriptors or more."""
SPARE_MESSAGES = 32
_LOOK = socket.MSG_PEEK | socket.MSG_DONTWAIT


def ends() -> tuple[int, int]:
    """Return the two ends of a new store; they are not inherited."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return near.detach(), far.detach()


class Store:
    """One store, by its ends. One process at a time uses it; which may be killed at any instant."""

    def __init__(self, near: int, far: int) -> None:
        self._in, self._out = (socket.socket(fileno=os.dup(end)) for end in (near, far))
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE_BYTES)
        self._messages, self._lock = 0, threading.Lock()

    def close(self) -> None:
        """Leave it; what it keeps stays."""
        self._in.close()
        self._out.close()

    def kept(self) -> list[Kept]:
        """Return what was kept before this process came, oldest first and sometimes twice, in descriptors of ours."""
        found: list[Kept] = []
        self._messages = 0
        self._out.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
        while True:
            try:
                data, descriptors = sockets.recv_fds(self._out, RECEIVE_BYTES, MOST_FDS, _LOOK)
            except BlockingIOError:
                break
            self._messages += 1
            found += zip(json.loads(data), descriptors, strict=False)  # (as many as we may have open)
        self._out.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, -1)
        return found

    def put(self, about: Any, descriptor: int) -> None:
        """Keep a descriptor; raises OSError if the queue is full."""
        with self._lock:
            self._send([(about, descriptor)])

    def is_long(self, count: int) -> bool:
        """Say whether the queue is worth a ``renew``, if there are so many to keep."""
        return self._messages > SPARE_MESSAGES + count // 128

    def renew(self, live: Callable[[], Iterable[Kept]]) -> None:
        """Keep these only, and close the others; raises OSError if there is no room, and keeps all then.

        They are kept anew before the old ones go. ``live`` is asked while nothing can be put.
        """
        with self._lock:
            before = self._messages
            for group in _groups(live()):
                self._send(group)
            self._messages -= before
        for _ in range(before):
            self._out.recv(1, socket.MSG_DONTWAIT)  # the kernel closes what nobody takes

    def _send(self, group: Sequence[Kept]) -> None:
        data = json.dumps([about for about, _ in group]).encode()
        sockets.send_fds(self._in, data, [descriptor for _, descriptor in group], socket.MSG_DONTWAIT)
        self._messages += 1


def _groups(live: Iterable[Kept]) -> Iterable[list[Kept]]:
    group: list[Kept] = []
    size = 0
    for about, descriptor in live:
        more = len(json.dumps(about)) + 2
        if group and (len(group) == MOST_FDS or size + more > MESSAGE_BYTES):
            yield group
            group, size = [], 0
        group.append((about, descriptor))
        size += more
    if group:
        yield group

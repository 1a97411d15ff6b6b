"""When a worker must be replaced."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from functools import reduce
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.counters import BUSY_SINCE_NSEC, IDLE, OPCODE, OPCODES, REQUESTS, UNIQUE, Request, Table
from lxcfs_py.daemon.hangs import FROZEN_LOOKS, HELD_LOOKS, LONGEST_LOOKS, LOOKS, Look, give_up, verdict
from lxcfs_py.fuse.protocol import RESENT

if TYPE_CHECKING:
    from collections.abc import Iterable

READ, WRITE = OPCODES["read"], OPCODES["write"]
NONE = Request(0, IDLE, 8, 4)


def judged(looks: Iterable[tuple[str, Request]]) -> str:
    """Return what is said after some looks."""
    none: Look | None = None
    last = reduce(lambda before, seen: Look(1, seen[0], 2, 0, seen[1]).after(before), looks, none)
    assert last is not None
    return verdict(last)


@pytest.mark.parametrize(
    ("states", "opcode", "why"),
    [
        ("S" * 1000, IDLE, ""),  # it waits for a request
        ("R" * 1000, IDLE, ""),
        ("T" * LOOKS, IDLE, "is stopped"),
        ("T" * (LOOKS - 1), IDLE, ""),
        ("t" * LOOKS, READ, "is stopped"),
        ("ST" * LOOKS, IDLE, ""),  # traced
        ("TS" * LOOKS, READ, ""),
        ("D" * FROZEN_LOOKS, IDLE, "is frozen"),
        ("D" * (FROZEN_LOOKS - 1), IDLE, ""),
        ("SD" * FROZEN_LOOKS, IDLE, ""),
        ("S" * LOOKS, READ, "hangs"),
        ("S" * (LOOKS - 1), READ, ""),
        ("RS" * LOOKS, READ, ""),  # the machine is busy
        ("D" * (HELD_LOOKS - 1), READ, ""),  # the kernel is
        ("SD" * LOOKS, READ, ""),
        ("D" * HELD_LOOKS, READ, "hangs"),
        ("R" * (LONGEST_LOOKS - 1), READ, ""),
        ("R" * LONGEST_LOOKS, READ, "hangs"),
        ("RD" * (LONGEST_LOOKS // 2), READ, "hangs"),
        ("S" * (LONGEST_LOOKS - 1), WRITE, ""),  # the supervisor is being restarted
        ("S" * LONGEST_LOOKS, WRITE, "hangs"),
    ],
)
def test_verdict(states: str, opcode: int, why: str) -> None:
    """What looks in a row say of a worker that does nothing meanwhile."""
    request = NONE if opcode == IDLE else Request(1000, opcode, 10, 5)
    found = judged((state, request) for state in states)
    assert found.startswith(why)
    assert bool(found) == bool(why)


@pytest.mark.parametrize("state", ["S", "D", "R", "T"])
@pytest.mark.parametrize("busy", [True, False])
def test_who_goes_on_is_left_alone(state: str, busy: bool) -> None:
    """Who has answered something since the look before is neither stopped nor hangs, however often it looks so."""
    looks = range(2 * LONGEST_LOOKS)
    assert judged((state, Request(1000 * busy, READ * busy, 10, count)) for count in looks) == ""


def test_answered_is_what_a_second_one_hangs_at() -> None:
    """The first worker that hangs at a request is killed, and another asked; only a second one's is answered, also
    if the kernel has asked all again meanwhile, and only while it is at it.
    """
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kernel.setblocking(False)
    descriptor, hung = os.memfd_create("counters"), deque[int]()
    table = Table(descriptor, 1)
    words = table.row(0).words

    def heard(unique: int, *, goes_on: bool = False) -> list[tuple[int, int]]:
        words[BUSY_SINCE_NSEC], words[OPCODE], words[UNIQUE] = 1000, READ, unique
        look = Look(1, "S", 2, 0, table.request(0))
        words[REQUESTS] += goes_on
        give_up(ours.fileno(), table, look, hung)
        try:
            _, code, of = struct.unpack("=IiQ", kernel.recv(4096))
        except BlockingIOError:
            return []
        return [(-code, of)]

    with kernel, ours:
        assert heard(10 | RESENT) == []  # asked again because another worker died
        assert heard(12) == []
        assert heard(12 | RESENT, goes_on=True) == []
        assert heard(12 | RESENT) == [(errno.EIO, 12 | RESENT)]
        assert heard(10 | RESENT) == [(errno.EIO, 10 | RESENT)]
    os.close(descriptor)

"""Listeners of ordinary users: who gets a place, how what they bring is taken, and when their agents end."""

from __future__ import annotations

import ctypes
import ctypes.util
import mmap
import os
import socket
import subprocess
import sys
from contextlib import closing
from select import epoll
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import sockets
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.host import Host
from lxcfs_py.loads import Load, Loads, Seen
from lxcfs_py.seccomp import desk, memory, protocol, users
from lxcfs_py.seccomp.arrivals import Arrivals
from lxcfs_py.seccomp.desk import Desk
from lxcfs_py.seccomp.partings import Partings

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = b'{"fds": ["a", "seccompFd"], "state": {"id": "x"}}'


@given(st.integers(0, 300), st.integers(0, 20), st.integers(0, 5000), st.integers(4, 20000), st.booleans())
def test_who_gets_a_place(listeners: int, coming: int, others: int, most: int, stuck: bool) -> None:
    """No user has more than its share, nor do all together; who gets none is told why."""
    everyone = listeners + coming + others
    why = users.refusal(7, listeners, coming, everyone, most, stuck=stuck)
    has_all = coming >= users.MOST_COMING or listeners + coming >= users.MOST_LISTENERS
    assert bool(why) is (has_all or stuck or everyone >= most // users.SHARE)
    assert why.count("\n") == 0 and len(why) < 200


@pytest.mark.parametrize(
    ("uid", "count", "capabilities", "account", "why"),
    [
        (7, 0, 0xC0, True, ""),
        (7, users.MOST_USERS - 1, 0x1FFFFFFFFFF, True, ""),
        (7, users.MOST_USERS, 0xC0, True, "users are served at once"),
        (7, 0, 0xC0, False, "no account"),
        (7, 0, 0x80, True, "have root give it CAP_SETUID and CAP_SETGID"),
        (0, 0, 0xC0, True, "seccomp.sock"),
    ],
)
def test_strangers(uid: int, count: int, capabilities: int, account: bool, why: str) -> None:
    """Users with an account get an agent, so many at once, if the daemon may become them; root has its own."""
    said = users.stranger(uid, range(100, 100 + count), capabilities, account=account)
    assert why in said and bool(said) is bool(why)


def test_accounts() -> None:
    """Root has an account; a number that is nobody's, or no number of a user's at all, has none."""
    assert users.is_account(0)
    assert not users.is_account(3_999_999_999)
    assert not users.is_account(1 << 40)


class Agent:
    """The user's end of a connection, the agent's, and the keeper's end of its control socket."""

    def __init__(self) -> None:
        self.user, agents = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.keeper, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control, self.poll = control, epoll()
        self.arrivals = Arrivals(self.poll, control)
        self.at = agents.detach()
        self.keeper.setblocking(False)
        self.arrivals.begin(3, self.at)

    def said(self) -> tuple[int, str, list[int]]:
        """Return what the keeper was told, and what it was sent; raises BlockingIOError for nothing."""
        data, descriptors = sockets.recv_fds(self.keeper, 100, 4)
        return *protocol.parse_place(data), descriptors

    def close(self) -> None:
        """Close all."""
        self.user.close()
        if self.at in self.arrivals:
            self.arrivals.take(self.at)
        for each in (self.keeper, self.control, self.poll):
            each.close()


@pytest.fixture
def agent() -> Iterator[Agent]:
    """Yield an agent to which somebody has come."""
    with closing(Agent()) as found:
        yield found


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Yield a descriptor that is taken for a listener: a real one can't be had without a filter."""
    found = os.memfd_create("listener")
    inode = os.fstat(found).st_ino
    monkeypatch.setattr(protocol, "is_listener", lambda each: os.fstat(each).st_ino == inode)
    yield found
    os.close(found)


@pytest.mark.parametrize("cut", [1, 20, len(STATE)])
def test_what_comes_is_passed_on(agent: Agent, listener: int, cut: int) -> None:
    """A state that comes in pieces, with its descriptors, is the listener's and nothing else's way to the keeper."""
    assert agent.user.recv(100) == protocol.READY
    other = os.memfd_create("other")
    before = len(os.listdir("/proc/self/fd"))
    sockets.send_fds(agent.user, STATE[:cut], [other, listener])
    agent.arrivals.take(agent.at)
    if cut < len(STATE):
        with pytest.raises(BlockingIOError):
            agent.said()
        agent.user.send(STATE[cut:])
        agent.arrivals.take(agent.at)
    slot, id_, descriptors = agent.said()
    assert (slot, id_, [os.fstat(each).st_ino for each in descriptors]) == (3, "x", [os.fstat(listener).st_ino])
    os.close(descriptors[0])
    assert agent.at not in agent.arrivals
    assert len(os.listdir("/proc/self/fd")) == before - 1  # the connection; what came was closed
    os.close(other)


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 9000, STATE, bytes(protocol.STATE_BYTES)])
def test_what_is_no_listener(agent: Agent, text: bytes) -> None:
    """For nonsense, or another descriptor, the keeper is told that nothing came."""
    with closing(agent.user):
        before = len(os.listdir("/proc/self/fd"))
        if text:
            agent.user.setblocking(False)
            sockets.send_fds(agent.user, text, [0, 1])
    while agent.at in agent.arrivals:
        agent.arrivals.take(agent.at)
    assert agent.said() == (3, "", [])
    assert len(os.listdir("/proc/self/fd")) == before - 2


def test_who_sends_no_end_of_descriptors(agent: Agent) -> None:
    """He holds no more of the agent's than a state has use for."""
    before = len(os.listdir("/proc/self/fd"))
    while agent.at in agent.arrivals:
        sockets.send_fds(agent.user, b"{", [0, 1])
        agent.arrivals.take(agent.at)
        assert len(os.listdir("/proc/self/fd")) < before + 20
    assert agent.said() == (3, "", [])


def test_who_sends_no_more(agent: Agent) -> None:
    """Nobody is waited for: what has not come yet is no reason to stop."""
    agent.arrivals.take(agent.at)
    assert agent.at in agent.arrivals
    with pytest.raises(BlockingIOError):
        agent.said()


class Agents(Desk):
    """A desk whose agents are shells, which end or not."""

    def __init__(self, uid: int, command: str) -> None:
        self.lines: list[str] = []
        self.begun: list[float] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self._command = command
        super().__init__(uid, os.memfd_create("slots"), Host(), (0, 0), lambda *_: None, self.lines.append)
        os.ftruncate(self.memory, protocol.MEMORY_BYTES)

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        self.begun.append(trio.current_time())
        found = subprocess.Popen(["sh", "-c", self._command], stdin=control.fileno())
        if self._command == "exit":
            found.wait()  # or the clock jumps while it begins
        self.processes.append(found)
        return found

    def end(self) -> None:
        """Leave nothing."""
        for each in self.processes:
            each.returncode = None  # a desk that was left in the middle leaves its agent to the next supervisor's
            each.kill()
            each.wait()
        os.close(self.memory)


def test_a_user_without_listeners_has_no_agent() -> None:
    """Its agent ends when it has rested for a while, and not before the last connection has been dealt with."""
    found = Agents(7, "exec sleep 1000")

    async def main() -> None:
        ours, theirs = trio.socket.socketpair()
        with ours, theirs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(found.serve)
                nursery.start_soon(found.receive, 0, ours, 5.0)
                await trio.testing.wait_all_tasks_blocked()
                await trio.sleep(3 * users.LINGER_SECONDS)
                assert await theirs.recv(1) == b""  # its time is over
                assert not found.ended
                found._taken(0)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.02))
    assert (found.ended, found.agent_pid, len(found.begun), found.lines) == (True, 0, 1, [])
    found.end()


def test_whose_agent_is_held_up_has_a_desk() -> None:
    """Else each desk would have forgotten the agents that can't end, and there would be ever more of them."""
    found = Agents(7, "exec sleep 1000")
    held_up = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    found._abandoned.append(held_up)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.serve)
            await trio.sleep(5 * users.LINGER_SECONDS)
            assert not found.ended
            held_up.communicate()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.02))
    assert (found.ended, len(found.begun)) == (True, 1)
    found.end()


LINGERING = """
import socket, struct, sys
listening = socket.create_server(("127.0.0.1", 0))
lingers = socket.create_connection(listening.getsockname())
lingers.setblocking(False)
lingers.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))
try:
    while True:
        lingers.send(bytes(1 << 16))
except BlockingIOError:
    pass
"""
"""Who lets go of this connection last waits for a quarter of an hour."""


def test_what_is_left_in_a_connection() -> None:
    """It is another process's to let go of, and then nobody has it; what is empty is closed at once."""
    lines = list[str]()
    partings = Partings(lines.append)
    reader, writer = os.pipe()
    empty, full = socket.socketpair(), socket.socketpair()
    script = (
        LINGERING
        + "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'x'], [lingers.fileno(), int(sys.argv[2])])"
    )
    descriptors = full[1].fileno(), writer
    subprocess.run([sys.executable, "-c", script, *map(str, descriptors)], pass_fds=descriptors, check=True)
    os.close(writer)

    async def main() -> None:
        ours = [trio.socket.from_stdlib_socket(each) for each in (empty[0], full[0])]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partings.serve)
            for each in ours:
                partings.add(each)
            assert [each.fileno() < 0 for each in ours] == [True, False]
            assert full[1].recv(1) == b"", "it has not ended"
            with trio.fail_after(60):
                await trio.lowlevel.wait_readable(reader)
                while partings._processes:
                    await trio.sleep(0.05)
            assert ours[1].fileno() < 0
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert (os.read(reader, 1), lines) == (b"", [])
    os.close(reader)
    for _, theirs in (empty, full):
        theirs.close()


def test_an_agent_that_is_killed_again_and_again() -> None:
    """A user's begins again after ever longer; root's at once."""

    def pauses(uid: int) -> list[float]:
        found = Agents(uid, "exit")

        async def main() -> None:
            with trio.move_on_after(20):
                await found.serve()

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.02))
        found.end()
        assert not found.ended
        return [after - before for before, after in zip(found.begun, found.begun[1:], strict=False)]

    mine, roots = pauses(7), pauses(0)
    assert mine == sorted(mine) and len(mine) < 8
    assert max(roots) < desk.QUICK_SECONDS and len(roots) > 20


def test_an_agent_that_is_killed_and_not_needed() -> None:
    """A user's place is free again."""
    found = Agents(7, "exit")
    trio.run(found.serve, clock=trio.testing.MockClock(autojump_threshold=0.02))
    found.end()
    assert found.ended and len(found.begun) < 12


def test_an_agent_that_says_nonsense() -> None:
    """It is replaced, and nothing else ends."""
    found = Agents(7, "printf x >&0; exec sleep 1000")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.serve)
            with trio.fail_after(60):
                while len(found.begun) < 2:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    trio.run(main)
    found.end()
    assert found.lines[0] == "seccomp: agent of user 7 ended; another one starts"


def test_seen_loads() -> None:
    """Who may not write the table sees what others have asked for."""
    writer = os.memfd_create("loads")
    table = Loads(writer)
    reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY)
    seen = Seen(reader)
    one, two = (Container(name, Cgroup({}), 7) for name in "ab")
    table.store(table.add(one), Load(5, (1, 2, 3)))
    assert (seen.load(one).averages, seen.load(two)) == ((1, 2, 3), Load(0))
    assert table.places() == [table.add(one)]
    for each in (reader, writer):
        os.close(each)


def test_memory_by_number() -> None:
    """What is written arrives, unless it may not be written, is not there, or the caller waits no more."""
    page = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    only_read = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)

    def write(where: int, *, waits: bool = True) -> bool:
        return memory.by_number("/proc", os.getpid(), lambda: waits, where, b"text")

    assert not write(address, waits=False) and page[:4] == bytes(4)
    assert write(address) and page[:4] == b"text"
    assert [write(each) for each in (0, only_read, 1 << 50)] == [False] * 3

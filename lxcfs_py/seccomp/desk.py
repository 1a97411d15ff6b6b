"""A desk: the listeners of one user, and the agent that answers their calls, which is replaced when it dies.

    keeper ──┬── desk of root:   agent, as root
             └── desk of a user: agent, as that user; begun with its first listener, ended after its last

What holds a user's agent up, a caller's memory that never answers say, holds up that user's calls alone; and what the
kernel would not let the user do, its agent can't. Users' listeners come by way of it as well: among what a user sends
may be a file whose closing takes for ever (FUSE), and only a listener comes on to the keeper.
"""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from lxcfs_py.record import Record
from lxcfs_py.seccomp import protocol, users

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.host import Host

QUICK_SECONDS, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 0.2, 30.0
"""An agent that lived for less than the first is begun again after the second; a user's after ever longer."""
WATCH_SECONDS = 5.0
"""An agent that is at the same call at two looks this far apart is held up."""


class Held(Record):
    """A listener."""

    descriptor: int
    id: str


class Coming(Record):
    """A connection of a user's, and what is set when the agent has taken what it brought."""

    connection: trio.socket.SocketType
    taken: trio.Event


class Desk:
    """``uid``'s. ``memory`` is the descriptor of its slots; ``given`` are those of log lines and load averages.

    ``put`` keeps a listener, by its slot, for the next keeper.
    """

    def __init__(
        self,
        uid: int,
        memory: int,
        host: Host,
        given: tuple[int, int],
        put: Callable[[Desk, int], None],
        log: Callable[[str], None],
    ) -> None:
        self.uid, self.memory, self._host, self._given, self._put, self._log = uid, memory, host, given, put, log
        self.held: dict[int, Held] = {}
        self.coming: dict[int, Coming] = {}
        """By the slot that is for what it brings."""
        self._control: trio.socket.SocketType | None = None
        self._passed: set[int] = set()
        self._held_up = False
        self._abandoned: list[subprocess.Popen[bytes]] = []
        self.agent_pid = 0
        """0 while there is none."""
        self.ended = False
        """Whether its time is over, as a user's is: who comes now gets another."""

    @property
    def stuck(self) -> bool:
        """Whether a user's agents are held up for ever, one after the other, so that it gets no further one yet."""
        return bool(self.uid) and len(self._abandoned) >= users.MOST_ABANDONED

    def free(self, most: int) -> int:
        """Return a slot that nothing is in, -1 if there are ``most``."""
        return next((at for at in range(most) if at not in self.held and at not in self.coming), -1)

    def restore(self, slot: int, descriptor: int) -> None:
        """Hold what the keeper before us held."""
        if slot in self.held:  # the one before had gone, or this is it once more
            os.close(self.held[slot].descriptor)
        data = os.pread(self.memory, protocol.SLOT_BYTES, slot * protocol.SLOT_BYTES)
        self.held[slot] = Held(descriptor, protocol.slot_id(data))

    async def hold(self, slot: int, descriptor: int, id_: str) -> None:
        """Hold a listener, and have the agent serve it."""
        os.pwrite(self.memory, protocol.begin_slot(id_), slot * protocol.SLOT_BYTES)
        self.held[slot] = Held(descriptor, id_)
        self._put(self, slot)
        await self._pass(slot)

    async def receive(self, slot: int, connection: trio.socket.SocketType, seconds: float) -> None:
        """Have the agent take what a user brings within so many seconds; it is the caller's to close."""
        self.coming[slot] = coming = Coming(connection, trio.Event())
        await self._pass(slot)
        with trio.move_on_after(seconds):
            await coming.taken.wait()
        if not coming.taken.is_set():
            connection.shutdown(socket.SHUT_RDWR)  # the agent sees it, and says so
            await coming.taken.wait()

    def _taken(self, slot: int) -> None:
        self._passed.discard(slot)
        self.coming.pop(slot).taken.set()

    async def _pass(self, slot: int) -> None:
        """Send what is in a slot to the agent; the next one gets it anyway if this one has just died."""
        held, coming, control = self.held.get(slot), self.coming.get(slot), self._control
        if control is None or slot in self._passed or (held is None and coming is None):
            return
        self._passed.add(slot)
        if held is not None:
            message, descriptor = protocol.place(slot, held.id), held.descriptor
        else:
            assert coming is not None
            message, descriptor = protocol.place(slot | protocol.CALLER), coming.connection.fileno()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            await control.sendmsg([message], rights)
        except (OSError, trio.ClosedResourceError):
            return

    async def serve(self) -> None:
        """Keep an agent: root's for ever, a user's as long as there is something to do for it."""
        pause = PAUSE_SECONDS
        while True:
            since = trio.current_time()
            try:
                await self._serve_by_agent()
                if self.ended:
                    return
                self._log(f"seccomp: {self._name} ended; another one starts")
            except OSError as error:
                self._log(f"seccomp: no {self._name}: {error}")
            if trio.current_time() - since < QUICK_SECONDS:
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS) if self.uid else PAUSE_SECONDS
            else:
                pause = PAUSE_SECONDS
            if pause == LONGEST_PAUSE_SECONDS and self._idle:
                self.ended = True  # it is killed whenever it begins, and nobody needs it
                return
            while self.stuck:
                await trio.sleep(PAUSE_SECONDS)
                self._count()

    def _count(self) -> None:
        """Forget the abandoned that have ended."""
        self._abandoned = [each for each in self._abandoned if each.poll() is None]

    @property
    def _idle(self) -> bool:
        """Whether there is nothing to do, and nobody whose end is waited for: another desk would not know of him."""
        self._count()
        return not self.held and not self.coming and not self._abandoned

    @property
    def _name(self) -> str:
        return f"agent of user {self.uid}" if self.uid else "agent"

    async def _serve_by_agent(self) -> None:
        """Start an agent and give it all there is, until it ends; raises OSError if it can't be started."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with trio.socket.from_stdlib_socket(ours) as control:
            with theirs:
                agent = self._spawn(theirs)
            self._control, self._held_up, self.agent_pid = control, False, agent.pid
            self._passed.clear()
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hear, control, nursery.cancel_scope)
                    nursery.start_soon(self._watch, nursery.cancel_scope)
                    for slot in (*self.held, *self.coming):
                        await self._pass(slot)
                    if self.uid:
                        await self._rest(nursery.cancel_scope)
                await self._end(agent)
            finally:
                self._control, self.agent_pid = None, 0
                if agent not in self._abandoned:
                    agent.returncode = agent.returncode or 0  # if we were cancelled it stays; nobody waits for it

    async def _rest(self, scope: trio.CancelScope) -> None:
        """End the agent of a user for whom there was nothing to do at two looks running."""
        idle = False
        while True:
            await trio.sleep(users.LINGER_SECONDS)
            before, idle = idle, self._idle
            if before and idle:
                self.ended = True
                scope.cancel()
                return

    async def _end(self, agent: subprocess.Popen[bytes]) -> None:
        """Kill an agent, if it has not gone by itself; one that is held up ends whenever it is let go."""
        agent.kill()
        if agent.poll() is None:
            pidfd = os.pidfd_open(agent.pid)
            try:
                with trio.move_on_after(PAUSE_SECONDS):
                    await trio.lowlevel.wait_readable(pidfd)
            finally:
                os.close(pidfd)
        self._abandoned.append(agent)
        self._count()

    async def _watch(self, scope: trio.CancelScope) -> None:
        """End this agent's time when it is held up."""
        before = 0
        while True:
            await trio.sleep(WATCH_SECONDS)
            pulse = int.from_bytes(os.pread(self.memory, 8, protocol.PULSE_AT), sys.byteorder)
            if pulse % 2 and pulse == before:
                self._held_up = True
                scope.cancel()
                return
            before = pulse

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        descriptors = (control.fileno(), self.memory, *self._given)
        host = self._host
        words = (*map(str, descriptors), host.proc, host.sys, host.cgroup, host.run, str(self.uid))
        words += ("held-up",) if self._held_up else ()
        return subprocess.Popen(
            [sys.executable, "-m", "lxcfs_py.seccomp.agent", *words],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # the terminal's Ctrl-C is not for it
        )

    async def _hear(self, control: trio.socket.SocketType, scope: trio.CancelScope) -> None:
        """Take the listeners the agent sends, and close those it says are of no more use, until it ends."""
        space = socket.CMSG_SPACE(array.array("i").itemsize)
        while True:
            rights: list[tuple[int, int, bytes]] = []
            try:
                data, rights, *_ = await control.recvmsg(protocol.STATE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                data = b""
            if len(data) < len(protocol.place(0)):
                scope.cancel()
                return
            slot, id_ = protocol.parse_place(data)
            for descriptor in (each for _, _, content in rights for each in array.array("i", content)):
                if not protocol.is_listener(descriptor):  # not closed: whatever it is, closing it might take for ever
                    self._log(f"seccomp: the {self._name} sent something else than a listener")
                elif slot not in self.coming:
                    os.close(descriptor)
                else:
                    self._taken(slot)
                    await self.hold(slot, descriptor, id_)
            if rights:
                continue
            if slot in self.coming:
                self._taken(slot)
            elif slot in self.held:
                self._passed.discard(slot)
                os.close(self.held.pop(slot).descriptor)

    def close(self) -> None:
        """Close all that is held; the agent goes on until its last container has ended."""
        for held in self.held.values():
            os.close(held.descriptor)

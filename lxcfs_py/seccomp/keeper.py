"""The keeper, a part of the supervisor: takes listeners from runtimes, holds them, and keeps an agent running.

What it holds is in a store too, so that the next supervisor's keeper has it. The agent of the one before serves until
the next keeper's is ready to, and ends it.
"""

from __future__ import annotations

import array
import os
import resource
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from lxcfs_py import sockets
from lxcfs_py.record import Record
from lxcfs_py.seccomp import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.host import Host
    from lxcfs_py.store import Store

SPARE = 256
"""Descriptors that are left for other things."""
STATE_SECONDS = 10.0
"""How long a runtime may take to send what it connected for."""
QUICK_SECONDS, PAUSE_SECONDS = 1.0, 0.2
"""An agent that lived for less than the first is begun again after the second."""
WATCH_SECONDS = 5.0
"""An agent that is at the same call at two looks this far apart is held up."""
KIND = "anon_inode:seccomp notify"


class Held(Record):
    """A listener."""

    descriptor: int
    id: str


class Keeper:
    """Holds every listener as long as a process has its filter.

    ``messages`` is where the agent's log lines go, ``loads`` the descriptor of the table of load averages, ``calls``
    that of the slots.
    """

    def __init__(
        self, host: Host, messages: int, loads: int, calls: int, store: Store, log: Callable[[str], None]
    ) -> None:  # fmt: skip
        self._host, self._messages, self._loads, self._log = host, messages, loads, log
        self._memory, self._store = calls, store
        os.ftruncate(self._memory, protocol.MEMORY_BYTES)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._most = min(protocol.SLOTS, hard - SPARE if hard != resource.RLIM_INFINITY else protocol.SLOTS)
        self._held: dict[int, Held] = {}
        self._listening = self._restore()
        self._control: trio.socket.SocketType | None = None
        self._passed: set[int] = set()
        self._held_up = False
        self._abandoned: list[subprocess.Popen[bytes]] = []
        self.agent_pid = 0
        """0 while there is none."""

    def _restore(self) -> sockets.Listening:
        """Take over what the keeper before us held; return the socket, where runtimes may have come meanwhile."""
        path, listening = protocol.socket_path(self._host), None
        for slot, descriptor in self._store.kept():
            if slot < 0:  # the socket, by its inode
                if listening is None and os.path.exists(path) and os.stat(path).st_ino == -slot:
                    listening = sockets.Listening(socket.socket(fileno=descriptor), path, -slot)
                else:
                    os.close(descriptor)
                continue
            if slot in self._held:  # the one before had gone, or this is it once more
                os.close(self._held[slot].descriptor)
            data = os.pread(self._memory, protocol.SLOT_BYTES, slot * protocol.SLOT_BYTES)
            self._held[slot] = Held(descriptor, protocol.slot_id(data))
        if listening is None:
            listening = sockets.listen(path)
            self._store.put(-listening.inode, listening.socket.fileno())
        return listening

    @property
    def listeners(self) -> int:
        """How many are held."""
        return len(self._held)

    async def serve(self) -> None:
        """Do all of it until it is cancelled; the agent is left to serve what it has."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_agent)
            nursery.start_soon(self._accept, nursery)

    async def _accept(self, nursery: trio.Nursery) -> None:
        listening = trio.socket.from_stdlib_socket(self._listening.socket)
        while True:
            try:
                connection, _ = await listening.accept()
            except OSError as error:
                self._log(f"seccomp: accept: {error}")
                await trio.sleep(PAUSE_SECONDS)
                continue
            nursery.start_soon(self._take, connection)

    async def _take(self, connection: trio.socket.SocketType) -> None:
        """Read what one runtime sends: a state and descriptors, to the end."""
        text, descriptors = b"", array.array("i")
        try:
            with connection, trio.move_on_after(STATE_SECONDS):
                while len(text) <= protocol.STATE_BYTES:
                    space = socket.CMSG_SPACE(protocol.FDS * descriptors.itemsize)
                    data, ancillary, _, _ = await connection.recvmsg(protocol.STATE_BYTES, space)
                    for level, kind, content in ancillary:
                        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
                    text += data
                    if not data or protocol.parse_state(text):
                        break
        except OSError as error:
            self._log(f"seccomp: {error}")
        await self._keep(protocol.parse_state(text), list(descriptors))

    async def _keep(self, sent: protocol.Sent | None, descriptors: list[int]) -> None:
        """Hold the listener among these, close the others, and have the agent serve it."""
        slot = -1
        for number, descriptor in enumerate(descriptors):
            if sent is not None and number == sent.listener and slot < 0 and self._is_listener(descriptor):
                slot = next((at for at in range(self._most) if at not in self._held), -1)
            if slot >= 0 and slot not in self._held and sent is not None:
                os.pwrite(self._memory, protocol.begin_slot(sent.id), slot * protocol.SLOT_BYTES)
                self._held[slot] = Held(descriptor, sent.id)
                self._put(slot)
            else:
                os.close(descriptor)
        if slot < 0:
            self._log(f"seccomp: {sent.id if sent else 'a runtime'} sent no listener, or there are {self._most}")
            return
        await self._pass(slot)

    def _put(self, slot: int) -> None:
        """Put a listener into the store; the dead leave it now and then."""
        try:
            if self._store.is_long(len(self._held)):
                own = -self._listening.inode, self._listening.socket.fileno()
                self._store.renew(lambda: [own, *((at, held.descriptor) for at, held in self._held.items())])
            else:
                self._store.put(slot, self._held[slot].descriptor)
        except OSError as error:
            held = self._held[slot]
            self._log(f"seccomp: {held.id}: its calls fail when the daemon ends: the store is full: {error}")

    @staticmethod
    def _is_listener(descriptor: int) -> bool:
        return os.readlink(f"/proc/self/fd/{descriptor}") == KIND

    async def _pass(self, slot: int) -> None:
        """Send a listener to the agent; the next one gets it anyway if this one has just died."""
        held, control = self._held.get(slot), self._control
        if held is None or control is None or slot in self._passed:
            return
        self._passed.add(slot)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [held.descriptor]))]
        try:
            await control.sendmsg([protocol.place(slot, held.id)], rights)
        except (OSError, trio.ClosedResourceError):
            return

    async def _keep_agent(self) -> None:
        while True:
            since = trio.current_time()
            try:
                await self._serve_by_agent()
                self._log("seccomp: the agent ended; another one starts")
            except OSError as error:
                self._log(f"seccomp: no agent: {error}")
            if trio.current_time() - since < QUICK_SECONDS:
                await trio.sleep(PAUSE_SECONDS)

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
                    nursery.start_soon(self._release, control, nursery.cancel_scope)
                    nursery.start_soon(self._watch, nursery.cancel_scope)
                    for slot in list(self._held):
                        await self._pass(slot)
                await self._end(agent)
            finally:
                self._control, self.agent_pid = None, 0
                if agent not in self._abandoned:
                    agent.returncode = agent.returncode or 0  # if we were cancelled it stays; nobody waits for it

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
        self._abandoned = [each for each in (*self._abandoned, agent) if each.poll() is None]

    async def _watch(self, scope: trio.CancelScope) -> None:
        """End this agent's time when it is held up."""
        before = 0
        while True:
            await trio.sleep(WATCH_SECONDS)
            pulse = int.from_bytes(os.pread(self._memory, 8, protocol.PULSE_AT), sys.byteorder)
            if pulse % 2 and pulse == before:
                self._held_up = True
                scope.cancel()
                return
            before = pulse

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        descriptors = (control.fileno(), self._memory, self._messages, self._loads)
        host = self._host
        words = (*map(str, descriptors), host.proc, host.sys, host.cgroup, host.run)
        words += ("held-up",) if self._held_up else ()
        return subprocess.Popen(
            [sys.executable, "-m", "lxcfs_py.seccomp.agent", *words],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # the terminal's Ctrl-C is not for it
        )

    async def _release(self, control: trio.socket.SocketType, scope: trio.CancelScope) -> None:
        """Close the listeners the agent says are of no more use, until it ends."""
        while True:
            try:
                data = await control.recv(protocol.STATE_BYTES)
            except OSError:
                data = b""
            if not data:
                scope.cancel()
                return
            slot, _ = protocol.parse_place(data)
            held = self._held.pop(slot, None)
            self._passed.discard(slot)
            if held is not None:
                os.close(held.descriptor)

    def close(self, *, keep: bool) -> None:
        """Close everything but what is kept for the next; the agent goes on until its last container has ended."""
        if keep:
            self._listening.socket.close()
        else:
            self._listening.close()
        for held in self._held.values():
            os.close(held.descriptor)
        self._store.close()

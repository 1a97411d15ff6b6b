"""The keeper, a part of the supervisor: takes listeners from runtimes, and holds them at the desks of their users.

What it holds is in a store too, so that the next supervisor's keeper has it. The agents of the one before serve until
the next keeper's are ready to, and end them.
"""

from __future__ import annotations

import array
import os
import resource
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from lxcfs_py import sockets
from lxcfs_py.procfs import status
from lxcfs_py.seccomp import protocol, users
from lxcfs_py.seccomp.desk import PAUSE_SECONDS, Desk
from lxcfs_py.seccomp.partings import Partings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from lxcfs_py.host import Host
    from lxcfs_py.store import Kept, Store

SPARE = 256
"""Descriptors that are left for other things."""
STATE_SECONDS = 10.0
"""How long a runtime may take to send what it connected for."""
MOST_STRANGERS = 8
"""Of how many it is looked up at once who they are."""
MEMORY = -1
"""In the place of a slot: the memory of a user's desk."""


class Keeper:
    """Holds every listener as long as a process has its filter.

    ``messages`` is where the agents' log lines go, ``loads`` the descriptor of the table of load averages, ``calls``
    that of root's slots.
    """

    def __init__(
        self, host: Host, messages: int, loads: int, calls: int, store: Store, log: Callable[[str], None]
    ) -> None:  # fmt: skip
        self._host, self._messages, self._log = host, messages, log
        os.fchmod(loads, 0o600)  # users' agents may not open it anew, to write
        self._loads_seen = os.open(f"/proc/self/fd/{loads}", os.O_RDONLY | os.O_CLOEXEC)
        self._store = store
        os.ftruncate(calls, protocol.MEMORY_BYTES)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._most = min(protocol.SLOTS, hard - SPARE if hard != resource.RLIM_INFINITY else protocol.SLOTS)
        self._root = Desk(0, calls, host, (messages, loads), self._put, log)
        self._users: dict[int, Desk] = {}
        self._strangers = 0
        self._partings = Partings(log)
        with open(f"{host.proc}/self/status", "rb") as file:
            self._capabilities = status.effective(file.read())
        self._listening, self._listening_to_users = self._restore()

    def _restore(self) -> tuple[sockets.Listening, sockets.Listening]:
        """Take over what the keeper before us held; return the sockets, where runtimes may have come meanwhile."""
        paths = (protocol.socket_path(self._host), 0o600), (protocol.users_socket_path(self._host), 0o666)
        found: dict[str, sockets.Listening] = {}
        listeners: list[tuple[int, int, int]] = []
        for about, descriptor in self._store.kept():
            uid, slot = about if isinstance(about, list) else (0, about)
            if uid and slot == MEMORY:
                if uid in self._users:
                    os.close(self._users[uid].memory)
                self._users[uid] = self._desk(uid, descriptor)
            elif slot >= 0:
                listeners.append((uid, slot, descriptor))
            else:  # a socket, by its inode
                path = next((path for path, _ in paths if os.path.exists(path) and os.stat(path).st_ino == -slot), "")
                if path and path not in found:
                    found[path] = sockets.Listening(socket.socket(fileno=descriptor), path, -slot)
                else:
                    os.close(descriptor)
        for uid, slot, descriptor in listeners:
            desk = self._users.get(uid) if uid else self._root
            if desk is None:  # (its memory didn't come: there were more than may be open)
                os.close(descriptor)
            else:
                desk.restore(slot, descriptor)
        for path, mode in paths:
            if path not in found:
                found[path] = sockets.listen(path, mode)
                self._store.put(-found[path].inode, found[path].socket.fileno())
        return found[paths[0][0]], found[paths[1][0]]

    @property
    def listeners(self) -> int:
        """How many are held."""
        return sum(len(desk.held) for desk in self._desks)

    @property
    def agent_pid(self) -> int:
        """Root's agent; 0 while there is none."""
        return self._root.agent_pid

    @property
    def _desks(self) -> tuple[Desk, ...]:
        return self._root, *self._users.values()

    def _desk(self, uid: int, memory: int) -> Desk:
        return Desk(uid, memory, self._host, (self._messages, self._loads_seen), self._put, self._log)

    async def serve(self) -> None:
        """Do all of it until it is cancelled; the agents are left to serve what they have."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._root.serve)
            nursery.start_soon(self._partings.serve)
            for desk in self._users.values():
                nursery.start_soon(self._serve_user, desk)
            nursery.start_soon(self._accept, self._listening, nursery, self._take)
            nursery.start_soon(
                self._accept, self._listening_to_users, nursery, lambda each: self._admit(each, nursery)
            )

    async def _accept(
        self,
        listening: sockets.Listening,
        nursery: trio.Nursery,
        act: Callable[[trio.socket.SocketType], Awaitable[None]],
    ) -> None:
        ours = trio.socket.from_stdlib_socket(listening.socket)
        while True:
            while listening is self._listening_to_users and self._partings.full:
                await trio.sleep(PAUSE_SECONDS)
            try:
                connection, _ = await ours.accept()
            except OSError as error:
                self._log(f"seccomp: accept: {error}")
                await trio.sleep(PAUSE_SECONDS)
                continue
            nursery.start_soon(act, connection)

    # Root's.

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
        slot, listener = -1, -1
        for number, descriptor in enumerate(descriptors):
            if sent is not None and number == sent.listener and protocol.is_listener(descriptor):
                slot = self._root.free(self._most) if self.listeners < self._most else -1
            if slot >= 0 and listener < 0:
                listener = descriptor
            else:
                os.close(descriptor)
        if slot < 0 or sent is None:
            self._log(f"seccomp: {sent.id if sent else 'a runtime'} sent no listener, or there are {self._most}")
            return
        await self._root.hold(slot, listener, sent.id)

    # Users'.

    async def _admit(self, connection: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        """Have a user's agent take what it brings, or say why not."""
        try:
            await self._receive(connection, nursery)
        finally:
            self._partings.add(connection)

    async def _receive(self, connection: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        uid = users.peer(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, users.PEER.size))
        why = await self._begin(uid, nursery)
        desk = self._users.get(uid)
        if desk is not None and not why:
            everyone = sum(len(each.held) + len(each.coming) for each in self._users.values())
            why = users.refusal(uid, len(desk.held), len(desk.coming), everyone, self._most, stuck=desk.stuck)
        if desk is None or why:
            self._log(f"seccomp: a listener is refused: {why}")
            with suppress(OSError):
                await connection.send(why.encode())
            return
        await desk.receive(desk.free(users.MOST_LISTENERS), connection, STATE_SECONDS)

    async def _begin(self, uid: int, nursery: trio.Nursery) -> str:
        """Begin a user's desk, if there is none yet; return why there can't be one, "" if there is."""
        if uid in self._users and not self._users[uid].ended:
            return ""
        if self._strangers >= MOST_STRANGERS:
            return "too many users come at once: try again"
        self._strangers += 1
        try:  # (it may take a network's answer)
            account = await trio.to_thread.run_sync(users.is_account, uid, abandon_on_cancel=True)
        finally:
            self._strangers -= 1
        there = {each for each, desk in self._users.items() if not desk.ended}
        why = users.stranger(uid, there, self._capabilities, account=account)
        if not why and uid not in there:
            memory = os.memfd_create(f"lxcfs-py-calls-{uid}", os.MFD_CLOEXEC)
            os.ftruncate(memory, protocol.MEMORY_BYTES)
            desk = self._users[uid] = self._desk(uid, memory)
            self._put(desk, MEMORY)
            nursery.start_soon(self._serve_user, desk)
        return why

    async def _serve_user(self, desk: Desk) -> None:
        await desk.serve()
        os.close(desk.memory)
        if self._users.get(desk.uid) is desk:
            del self._users[desk.uid]

    # For the next keeper.

    def _put(self, desk: Desk, slot: int) -> None:
        """Put what is in a slot into the store; the dead leave it now and then."""
        about, descriptor = _kept(desk, slot)
        try:
            if self._store.is_long(self.listeners):
                self._store.renew(lambda: list(self._all()))
            else:
                self._store.put(about, descriptor)
        except OSError as error:
            id_ = desk.held[slot].id if slot in desk.held else f"user {desk.uid}"
            self._log(f"seccomp: {id_}: its calls fail when the daemon ends: the store is full: {error}")

    def _all(self) -> Iterator[Kept]:
        for listening in (self._listening, self._listening_to_users):
            yield -listening.inode, listening.socket.fileno()
        for desk in self._desks:
            yield from (_kept(desk, slot) for slot in ((MEMORY,) if desk.uid else ()))
            yield from (_kept(desk, slot) for slot in desk.held)

    def close(self, *, keep: bool) -> None:
        """Close everything but what is kept for the next; the agents go on until their last container has ended."""
        for listening in (self._listening, self._listening_to_users):
            if keep:
                listening.socket.close()
            else:
                listening.close()
        for desk in self._desks:
            desk.close()
        self._partings.close()
        self._store.close()


def _kept(desk: Desk, slot: int) -> Kept:
    descriptor = desk.memory if slot == MEMORY else desk.held[slot].descriptor
    return ([desk.uid, slot] if desk.uid else slot), descriptor

"""The supervisor's part of pressure triggers: it holds the cgroups' files, watches them, and wakes who polls.

A thread of its own, with an epoll of its own: an event of a pressure file is taken by whoever asks for it first
(psi_trigger_poll in kernel/sched/psi.c), so the files must not be watched through a second epoll, as trio's would
be; and such a file is always readable, so nothing that waits for "readable" may watch it.

The files are in a store too, so that a trigger outlives us: the kernel notes an event meanwhile, and the next
supervisor wakes who polls, for them to ask again.
"""

from __future__ import annotations

import errno
import functools
import marshal
import os
import queue
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from lxcfs_py import sockets
from lxcfs_py.container import digest
from lxcfs_py.daemon.rights import open_as
from lxcfs_py.fuse.triggers import NO_TRIGGER, READY, REQUEST_BYTES, WRITER

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.store import Store

MOST, MOST_OF_ONE = 512, 64
"""How many triggers there may be in all, and of one container: each holds a descriptor."""
GIVEN_SECONDS = 1.0
"""An event given to a worker that dies within this time is given once more: the poller may not have got it."""


class _Trigger:
    """One trigger; it is not ``live`` once its cgroup has gone or it was closed."""

    def __init__(self, owner: str, descriptor: int, text: bytes, maker: socket.socket | None) -> None:
        self.owner, self.descriptor, self.text, self.maker = owner, descriptor, text, maker
        self.live, self.event, self.wake = True, False, b""


def _about(handle: int, trigger: _Trigger) -> list[Any]:
    return [handle, trigger.owner, trigger.text.decode("latin-1"), trigger.wake.hex()]


class Service:
    """All triggers of a mount. ``fuse`` is the descriptor of its session, ``control`` where workers connect, and
    ``opened`` says of a file handle what was opened, None if it is so no more.
    """

    def __init__(
        self,
        fuse: int,
        control: socket.socket,
        store: Store,
        opened: Callable[[int], object],
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fuse, self._control, self._log, self._clock = fuse, control, log, clock
        self._epoll = select.epoll()
        self._store, self._opened = store, opened
        self._end, self._again = (os.eventfd(0, os.EFD_CLOEXEC) for _ in range(2))
        self._turns: dict[int, Callable[[int], None]] = {}
        self._requests: dict[str, Callable[..., int | None]] = {
            "write": self.write,
            "poll": self.poll,
            "close": self.close,
        }
        self._triggers: dict[int, _Trigger] = {}
        self._held: set[_Trigger] = set()
        self._to_close: queue.SimpleQueue[_Trigger | None] = queue.SimpleQueue()
        self._given: dict[socket.socket, tuple[_Trigger, float]] = {}
        self._connections: set[socket.socket] = set()
        self._watcher = threading.Thread(target=self._run, name="triggers", daemon=True)
        self._closer = threading.Thread(target=self._close_on, name="triggers-close", daemon=True)
        self._watch(self._end, select.EPOLLIN, lambda _events: None)
        self._watch(control.fileno(), select.EPOLLIN, self._connected)
        self._watch(self._again, select.EPOLLIN, self._resumed)
        self._restore()

    def _restore(self) -> None:
        """Take over what the supervisor before us had."""
        for (handle, owner, text, wake), descriptor in self._store.kept():
            if handle in self._triggers:
                os.close(self._triggers[handle].descriptor)
            trigger = self._triggers[handle] = _Trigger(owner, descriptor, text.encode("latin-1"), None)
            trigger.wake = bytes.fromhex(wake)
        for handle, trigger in self._triggers.items():
            self._held.add(trigger)
            self._watch(trigger.descriptor, select.EPOLLPRI, functools.partial(self.report, handle))

    def resume(self) -> None:
        """Have all who poll ask again, because those whom they asked meanwhile had nobody to ask."""
        os.eventfd_write(self._again, 1)

    def _resumed(self, _events: int) -> None:
        os.eventfd_read(self._again)
        for handle, trigger in list(self._triggers.items()):
            if self._opened(handle & ~WRITER) is None:  # it was closed while there was nobody to tell
                self.close(handle)
            else:
                self._wake(trigger)

    @property
    def count(self) -> int:
        """How many triggers there are."""
        return len(self._held)

    def start(self) -> None:
        """Begin."""
        self._watcher.start()
        self._closer.start()

    def stop(self, *, keep: bool = False) -> None:
        """End, and close everything, or leave it to the next one."""
        if self._watcher.ident is not None:
            os.eventfd_write(self._end, 1)
            self._watcher.join()
            for handle in list(self._triggers):
                if not keep:
                    self.close(handle)
                elif self._triggers[handle].live:
                    os.close(self._triggers[handle].descriptor)
            self._to_close.put(None)
            self._closer.join()
        for connection in self._connections:
            connection.close()
        self._epoll.close()
        self._store.close()
        os.close(self._end)
        os.close(self._again)

    def _watch(self, descriptor: int, events: int, turn: Callable[[int], None]) -> None:
        self._epoll.register(descriptor, events)
        self._turns[descriptor] = turn

    def _unwatch(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)
        del self._turns[descriptor]

    def _run(self) -> None:
        while True:
            for descriptor, events in self._epoll.poll(maxevents=1):  # a turn may close what a second were about
                if descriptor == self._end:
                    return
                try:
                    self._turns[descriptor](events)
                except Exception as error:  # noqa: BLE001  (one trigger's trouble is not the others')
                    self._log(f"triggers: {type(error).__name__}: {error}")

    # Workers.

    def _connected(self, _events: int) -> None:
        for descriptor in sockets.recv_fds(self._control, 16, 1, socket.MSG_DONTWAIT)[1]:
            connection = socket.socket(fileno=descriptor)
            self._connections.add(connection)
            self._watch(descriptor, select.EPOLLIN, functools.partial(self._asked, connection))

    def _asked(self, worker: socket.socket, _events: int) -> None:
        try:
            data = worker.recv(REQUEST_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(worker)
            return
        self._given.pop(worker, None)
        name, *arguments = marshal.loads(data)  # noqa: S302  (written by a worker)
        reply = self._requests[name](*arguments, worker=worker)
        if reply is not None:
            worker.send(b"%d" % reply, socket.MSG_DONTWAIT)

    def _gone(self, worker: socket.socket) -> None:
        """Forget a worker that has died; an event it may have taken along is given again."""
        self._unwatch(worker.fileno())
        self._connections.discard(worker)
        worker.close()
        trigger, since = self._given.pop(worker, (None, 0.0))
        if trigger is not None and self._clock() - since < GIVEN_SECONDS:
            self._happened(trigger)

    # Requests, and what the kernel reports.

    def write(
        self, handle: int, owner: str, path: str, text: bytes, privileged: bool, resent: bool = False,
        *, worker: socket.socket,
    ) -> int:  # fmt: skip
        """Set a trigger; return an errno, 0 if it is set."""
        there = self._triggers.get(handle)
        if there is not None:
            # Asked again because the worker that set it died before it could say so, or was late when another died?
            again = there.text == text and (resent or there.maker not in self._connections)
            return 0 if again else errno.EBUSY
        owner = digest(owner).hex()
        held = [trigger.owner for trigger in list(self._held)]
        if held.count(owner) >= MOST_OF_ONE:
            return errno.EMFILE
        if len(held) >= MOST:
            return errno.ENOSPC
        try:
            descriptor = open_as(path, privileged=privileged)
        except OSError as error:
            return error.errno or errno.EIO
        trigger = _Trigger(owner, descriptor, text, worker)
        try:
            os.write(descriptor, text)
            self._watch(descriptor, select.EPOLLPRI, functools.partial(self.report, handle))
        except OSError as error:
            os.close(descriptor)
            return error.errno or errno.EIO
        self._triggers[handle] = trigger
        self._held.add(trigger)
        self._keep(handle, trigger)
        return 0

    def poll(self, handle: int, wake: bytes, *, worker: socket.socket) -> int:
        """Return what poll(2) says of an open file, and take its event."""
        trigger = self._triggers.get(handle)
        if trigger is None:
            return NO_TRIGGER
        if not trigger.live:
            return NO_TRIGGER
        if wake and wake != trigger.wake:
            trigger.wake = wake
            self._keep(handle, trigger)
        if not trigger.event:
            return READY
        trigger.event = False
        self._given[worker] = trigger, self._clock()
        return READY | select.POLLPRI

    def close(self, handle: int, *, worker: socket.socket | None = None) -> None:  # noqa: ARG002
        """Close a trigger; nobody waits for it."""
        trigger = self._triggers.pop(handle, None)
        if trigger is not None:
            self._release(trigger)

    def _release(self, trigger: _Trigger) -> None:
        if trigger.live:
            trigger.live = False
            self._unwatch(trigger.descriptor)
            self._to_close.put(trigger)

    def _close_on(self) -> None:
        """Close descriptors, each of which takes the kernel some ms; until then they are counted."""
        while (trigger := self._to_close.get()) is not None:
            os.close(trigger.descriptor)
            self._renew()
            self._held.discard(trigger)

    # The store.

    def _keep(self, handle: int, trigger: _Trigger) -> None:
        """Put a trigger there, or what is new about it."""
        try:
            if self._store.is_long(len(self._triggers)):
                self._renew()
            else:
                self._store.put(_about(handle, trigger), trigger.descriptor)
        except OSError as error:
            self._log(f"triggers: one will be lost when the daemon ends: the store is full: {error}")

    def _renew(self) -> None:
        def live() -> list[tuple[list[Any], int]]:
            there = list(self._triggers.items())
            return [(_about(handle, trigger), trigger.descriptor) for handle, trigger in there if trigger.live]

        try:
            self._store.renew(live)
        except OSError as error:
            self._log(f"triggers: the store is full: {error}")

    def report(self, handle: int, events: int) -> None:
        """Take what the kernel says of a trigger's file: an event, or that there is none any more."""
        trigger = self._triggers[handle]
        if events & (select.EPOLLERR | select.EPOLLHUP):  # its cgroup has gone, and would say so for ever
            self._release(trigger)
        self._happened(trigger)

    def _happened(self, trigger: _Trigger) -> None:
        trigger.event = True
        self._wake(trigger)

    def _wake(self, trigger: _Trigger) -> None:
        if trigger.wake:
            try:
                os.write(self._fuse, trigger.wake)
            except OSError:  # nobody polls any more, or the mount is gone
                return

"""Runs pyfuse3's session in a process that does nothing else: blocking reads instead of an event loop.

pyfuse3 reaches its event loop through its module attribute ``trio`` (its own asyncio support replaces that
attribute too). Here it is replaced by the few names pyfuse3 uses, none of which ever suspends: its main
coroutine then runs to the end of the session in one ``send(None)``. An open+read+close costs a third of what
it costs under trio.

A worker takes an established session over: libfuse is given one side of a socket pair with a FUSE_INIT request
in it. The worker itself reads the kernel's requests (``requests``), answers those that reading a file consists
of (``Reading``: what libfuse and pyfuse3 do to them costs more than the answer), and passes the others through
the socket pair. ``pyfuse3`` calls back for the next one; all of a worker's life is in that call.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Self

import pyfuse3

from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.reading import Reading
from lxcfs_py.fuse.requests import LeaveError, Requests, UnmountedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from lxcfs_py.fuse.operations import Operations


UNMOUNTED, LEFT = 0, 4
"""How ``serve`` ended."""


class _Done:
    """An awaitable that is ready, and the lock pyfuse3 takes around a receive."""

    def __await__(self) -> Iterator[None]:
        return iter(())

    def __aenter__(self) -> Self:
        return self

    def __aexit__(self, *_error: object) -> _Done:
        return self


_DONE = _Done()


class _Nursery:
    """Runs the one task it is given when the block ends."""

    def __init__(self) -> None:
        self.task: Coroutine[Any, Any, None] | None = None

    async def __aenter__(self) -> Self:
        return self

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, None]], *args: object, name: str = "") -> None:
        """Take the session loop; pyfuse3 starts just one when it is told that one task is the maximum."""
        if self.task is not None:
            raise RuntimeError(f"a second session loop was started: {name}")
        self.task = function(*args)

    async def __aexit__(self, *_error: object) -> None:
        if self.task is not None:
            await self.task


class Blocking:
    """Stands for the module trio. ``wait_readable`` is where each turn of the session loop starts."""

    class ClosedResourceError(Exception):
        """Named by pyfuse3, never raised here."""

    name = "worker"

    def __init__(self, wait: Callable[[int], None]) -> None:
        self.lowlevel = self
        self._wait = wait

    def Lock(self) -> _Done:  # noqa: N802  (trio's name)
        """There is nobody to lock out."""
        return _DONE

    def open_nursery(self) -> _Nursery:
        """As trio's."""
        return _Nursery()

    def current_task(self) -> Blocking:
        """As trio's; only its name is asked."""
        return self

    def current_trio_token(self) -> None:
        """As trio's; for threads, of which there are none."""

    def wait_readable(self, fd: int) -> _Done:
        """Prepare the next receive, which may block."""
        self._wait(fd)
        return _DONE


class Session:
    """The kernel on one side, libfuse on the other; ``wait`` is pyfuse3's."""

    def __init__(self, operations: Operations, fuse_fd: int, init: protocol.Init, slot: memoryview | None) -> None:
        self._fuse_fd, self._ours = fuse_fd, _Pair()
        self._ours.near.send(protocol.worker_init(init))
        self._reading = Reading(operations, fuse_fd)
        self._requests = Requests(fuse_fd, operations.words, self._reading.owner, slot)
        self.wait: Callable[[int], None] = self._first

    @property
    def path(self) -> str:
        """The mount point to give libfuse."""
        return f"/dev/fd/{self._ours.far.fileno()}"

    def wake_message(self, handle: pyfuse3.PollHandle) -> bytes:
        """Return what wakes those who wait in poll(2), for somebody who outlives us to write to /dev/fuse.

        A handle tells nobody its number, it writes the message to libfuse's descriptor.
        """
        handle.notify()
        return self._ours.near.recv(4096, socket.MSG_DONTWAIT)

    def _first(self, _fd: int) -> None:
        """Have libfuse read FUSE_INIT."""
        self.wait = self._second

    def _second(self, fd: int) -> None:
        """Look at its answer, and begin."""
        number = protocol.reply_error(self._ours.near.recv(4096))
        if number:
            raise OSError(number, "libfuse refused the FUSE_INIT of the session")
        self.wait = self._turn
        self._turn(fd)

    def _turn(self, _fd: int) -> None:
        """Hand the answer to the last request back, and answer all that are ours until there is one for libfuse."""
        while True:
            try:
                reply = self._ours.near.recv(2 * protocol.REQUEST_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            try:
                os.write(self._fuse_fd, reply)
            except OSError:  # (the caller was killed: there is nobody to answer)
                continue
        answered, following = self._reading.answered, self._requests.following
        while answered(request := following()):
            pass
        self._ours.near.send(request)


class _Pair:
    """Two sockets that keep messages apart, and take the longest."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.near, self.far):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * protocol.REQUEST_BYTES)


def serve(operations: Operations, fuse_fd: int, init: protocol.Init, slot: memoryview | None) -> int:
    """Serve the session behind ``fuse_fd`` until it is unmounted (``UNMOUNTED``), or SIGTERM comes (``LEFT``).

    ``slot`` is None where the kernel asks again what a dead worker was asked, else as in ``Requests``.
    Raises OSError or RuntimeError if libfuse will not take the session over.
    """
    session = Session(operations, fuse_fd, init, slot)
    operations.wake_message = session.wake_message
    # What it imports is no part of its interface.
    pyfuse3.trio = Blocking(lambda fd: session.wait(fd))  # type: ignore[attr-defined]
    pyfuse3.init(operations, session.path, set())
    loop = pyfuse3.main(min_tasks=1, max_tasks=1)
    try:
        loop.send(None)
    except (StopIteration, UnmountedError):
        return UNMOUNTED
    except LeaveError:
        return LEFT
    raise RuntimeError("pyfuse3 waited for something a blocking driver can't give it")

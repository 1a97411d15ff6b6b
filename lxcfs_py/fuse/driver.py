"""Runs pyfuse3's session in a process that does nothing else: blocking reads instead of an event loop.

pyfuse3 reaches its event loop through its module attribute ``trio`` (its own asyncio support replaces that
attribute too). Here it is replaced by the few names pyfuse3 uses, none of which ever suspends: its main
coroutine then runs to the end of the session in one ``send(None)``. An open+read+close costs a third of what
it costs under trio.

A worker takes an established session over: it is given libfuse's side of a socket pair with a FUSE_INIT
request in it, and once that is answered the descriptor under libfuse becomes /dev/fuse itself. On kernels
that can't resend the requests of a dead worker (before 6.9) the socket pair stays and every request passes
through ``Relay``, which leaves its number in shared memory, so that somebody can answer in the worker's place.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from typing import TYPE_CHECKING, Any, Self

import pyfuse3

from lxcfs_py.counters import BUSY_SINCE_NSEC, IDLE, OPCODE, RECEIVING
from lxcfs_py.fuse import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from lxcfs_py.fuse.operations import Operations


UNMOUNTED, LEFT = 0, 4
"""How ``serve`` ended."""


class _UnmountedError(Exception):
    """The relay's way out of pyfuse3's loop."""


class _LeaveError(Exception):
    """SIGTERM's way out of it, between two requests."""


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


class Takeover:
    """First turn: libfuse reads FUSE_INIT from the socket pair. Second turn: its answer is checked, and the
    descriptor becomes /dev/fuse (``direct``) or the relay takes its place.
    """

    def __init__(self, fuse_fd: int, init: protocol.Init, slot: memoryview | None, words: memoryview) -> None:
        self._fuse_fd, self._words = fuse_fd, words
        self._slot = slot
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if slot is not None:
            for end in (self._ours, self._theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * protocol.REQUEST_BYTES)
        self._ours.send(protocol.worker_init(init))
        self.wait: Callable[[int], None] = self._first

    @property
    def path(self) -> str:
        """The mount point to give libfuse."""
        return f"/dev/fd/{self._theirs.fileno()}"

    def wake_message(self, handle: pyfuse3.PollHandle) -> bytes:
        """Return what wakes those who wait in poll(2), for somebody who outlives us to write to /dev/fuse.

        A handle tells nobody its number, it writes the message to libfuse's descriptor: a socket of ours meanwhile.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            libfuse = os.dup(self._theirs.fileno())
            try:
                os.dup2(theirs.fileno(), self._theirs.fileno())
                handle.notify()
            finally:
                os.dup2(libfuse, self._theirs.fileno())
                os.close(libfuse)
            return ours.recv(4096, socket.MSG_DONTWAIT)

    def _first(self, _fd: int) -> None:
        self.wait = self._second

    def _second(self, fd: int) -> None:
        number = protocol.reply_error(self._ours.recv(4096))
        if number:
            raise OSError(number, "libfuse refused the FUSE_INIT of the session")
        queue = Queue(self._fuse_fd, self._words)
        if self._slot is None:
            os.dup2(self._fuse_fd, fd)
            self._ours.close()
            self.wait = queue.wait
        else:
            self.wait = Relay(self._fuse_fd, self._ours, self._slot, queue).turn
        self.wait(fd)


class Queue:
    """Waits for requests so that of several idle workers always the same one gets the next.

    Those that wait in read(2) are woken in turn, each on a CPU where nothing of it is in the caches any more: one
    reader waits twice as long with two workers as with one. Exclusive waiters of epoll(7) are asked in a fixed
    order. The read that follows may still block, when another worker was faster. ``words`` is the worker's row of
    the counters: it is at a request until it waits here for the next.
    """

    def __init__(self, fuse_fd: int, words: memoryview) -> None:
        self._words = words
        self._epoll = select.epoll()
        self._epoll.register(fuse_fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self._waiting = self._leaving = False
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, _number: int, _frame: object) -> None:
        self._leaving = True
        if self._waiting:
            raise _LeaveError

    def wait(self, _fd: int = -1) -> None:
        """Return when there is a request, or the mount is gone; after SIGTERM it is the end."""
        words = self._words
        words[BUSY_SINCE_NSEC] = 0
        words[OPCODE] = IDLE
        self._waiting = True
        try:
            if self._leaving:
                raise _LeaveError
            self._epoll.poll(-1, 1)
        finally:
            self._waiting = False
        words[OPCODE] = RECEIVING


class Relay:
    """Passes requests and replies between /dev/fuse and libfuse, one at a time.

    The kernel copies the request into shared memory itself (``slot``), so its number is there before this
    process can die holding it; it is wiped when the reply is with the kernel.
    """

    def __init__(self, fuse_fd: int, ours: socket.socket, slot: memoryview, queue: Queue) -> None:
        self._fuse_fd = fuse_fd
        self._ours = ours
        self._slot = slot
        self._queue = queue

    def turn(self, _fd: int) -> None:
        """Hand back the answers to the last request, then wait for the next and hand it to libfuse."""
        self._answer()
        while True:
            self._queue.wait()
            try:
                length = os.readv(self._fuse_fd, [self._slot])
                break
            except FileNotFoundError:  # the request was interrupted while it was handed over
                continue
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise _UnmountedError from error
                raise
        self._ours.send(self._slot[:length])

    def _answer(self) -> None:
        while True:
            try:
                reply = self._ours.recv(2 * protocol.REQUEST_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            try:
                os.write(self._fuse_fd, reply)
            except OSError:  # (the caller was killed: there is nobody to answer)
                continue
        self._slot[: protocol.UNIQUE_OFFSET + 8] = bytes(protocol.UNIQUE_OFFSET + 8)


def serve(operations: Operations, fuse_fd: int, init: protocol.Init, slot: memoryview | None) -> int:
    """Serve the session behind ``fuse_fd`` until it is unmounted (``UNMOUNTED``), or SIGTERM comes (``LEFT``).

    ``slot`` is this worker's part of shared memory for the relay, at least ``protocol.REQUEST_BYTES`` long;
    None reads /dev/fuse directly. Raises OSError or RuntimeError if libfuse will not take the session over.
    """
    takeover = Takeover(fuse_fd, init, slot, operations.words)
    operations.wake_message = takeover.wake_message
    pyfuse3.trio = Blocking(lambda fd: takeover.wait(fd))  # type: ignore[attr-defined]
    pyfuse3.init(operations, takeover.path, set())
    session = pyfuse3.main(min_tasks=1, max_tasks=1)
    try:
        session.send(None)
    except (StopIteration, _UnmountedError):
        return UNMOUNTED
    except _LeaveError:
        return LEFT
    raise RuntimeError("pyfuse3 waited for something a blocking driver can't give it")

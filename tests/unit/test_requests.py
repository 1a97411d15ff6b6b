"""The order in which a worker answers, and the requests it answers without libfuse."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyfuse3
import pytest

from lxcfs_py.counters import FILES_AT, REQUESTS
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.reading import Reading
from lxcfs_py.fuse.requests import LOOK_EVERY, LeaveError, Requests

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS: Any = [0] * FILES_AT


class Kernel:
    """Asks through a socket as the kernel does through /dev/fuse."""

    def __init__(self) -> None:
        self._before = signal.getsignal(signal.SIGTERM)
        self.asking, self.asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._unique = 0

    def ask(self, opcode: int, body: bytes = b"", *, inode: int = 1, pid: int = 1) -> int:
        """Ask; return the request's number."""
        self._unique += 2
        self.asking.send(struct.pack("=IIQQIIII", 40 + len(body), opcode, self._unique, inode, 0, 0, pid, 0) + body)
        return self._unique

    def answer(self) -> tuple[int, int, bytes]:
        """Return the errno, the number and the data of an answer."""
        reply = self.asking.recv(1 << 17, socket.MSG_DONTWAIT)
        length, error, unique = struct.unpack_from("=IiQ", reply)
        assert length == len(reply)
        return -error, unique, reply[16:]

    def requests(self, slot: memoryview | None = None) -> Requests:
        """Return a worker's way to the requests; their owner is their inode."""
        return Requests(self.asked.fileno(), WORDS, lambda request: protocol.asked(request)[2], slot)

    def close(self) -> None:
        """Give all back."""
        signal.signal(signal.SIGTERM, self._before)
        self.asking.close()
        self.asked.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """Yield a kernel."""
    found = Kernel()
    yield found
    found.close()


def numbers(requests: Requests, count: int) -> list[int]:
    """Return the numbers of the next requests."""
    return [protocol.asked(requests.following())[1] for _ in range(count)]


def test_each_has_its_turn(kernel: Kernel) -> None:
    """Behind fifty requests of one container, another's waits for few of them; each one's own stay in order."""
    noisy = [kernel.ask(protocol.OPEN, inode=7) for _ in range(50)]
    quiet = kernel.ask(protocol.OPEN, inode=8)
    found = numbers(kernel.requests(), 51)
    assert quiet in found[: LOOK_EVERY + 2]
    assert [number for number in found if number != quiet] == noisy


def test_who_comes_later_has_its_turn_too(kernel: Kernel) -> None:
    """What is asked while others are held does not wait for them all."""
    for _ in range(50):
        kernel.ask(protocol.OPEN, inode=7)
    requests = kernel.requests()
    numbers(requests, LOOK_EVERY + 2)
    late = [kernel.ask(protocol.OPEN, inode=inode) for inode in (8, 9)]
    assert set(late) <= set(numbers(requests, LOOK_EVERY + 3))


def test_sigterm_leaves_no_request_unanswered(kernel: Kernel) -> None:
    """A worker that is told to leave answers what it holds, and takes in no more."""
    held = [kernel.ask(protocol.OPEN, inode=7) for _ in range(LOOK_EVERY + 8)]
    requests = kernel.requests()
    found = numbers(requests, LOOK_EVERY + 1)
    os.kill(os.getpid(), signal.SIGTERM)
    kernel.ask(protocol.OPEN, inode=8)
    found += numbers(requests, 7)
    assert found == held
    with pytest.raises(LeaveError):
        requests.following()


def test_with_a_slot_one_request_at_a_time_is_noted(kernel: Kernel) -> None:
    """Where the kernel can't ask again, a request's number is in shared memory until it is answered, and no other is
    taken from the kernel meanwhile.
    """
    slot = memoryview(bytearray(protocol.REQUEST_BYTES))
    asked = [kernel.ask(protocol.OPEN, inode=7) for _ in range(3 * LOOK_EVERY)]
    requests = kernel.requests(slot)
    for number in asked:
        assert protocol.asked(requests.following())[1] == number
        assert struct.unpack_from("=Q", slot, protocol.UNIQUE_OFFSET) == (number,)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(LeaveError):
        requests.following()
    assert struct.unpack_from("=Q", slot, protocol.UNIQUE_OFFSET) == (0,)


class Handlers(SimpleNamespace):
    """What is asked of ``Operations``; file 5 is of inode 4."""

    words = WORDS
    open_files: set[int]
    logged: list[object]

    def log(self, *about: object) -> None:
        """Note it."""
        self.logged.append(about)

    def opened(self, inode: int, _flags: int, _pid: int) -> int:
        """Open file 5."""
        if inode != 4:
            raise pyfuse3.FUSEError(errno.ESTALE)
        self.open_files.add(5)
        return 5

    def piece(self, handle: int, offset: int, size: int) -> bytes:
        """Read it."""
        if handle != 5:
            raise KeyError(handle)
        return b"hello\n"[offset : offset + size]

    def closed(self, handle: int) -> None:
        """Close it."""
        self.open_files.discard(handle)


@pytest.fixture
def handlers() -> Any:
    """Return handlers: not all that ``Operations`` has."""
    return Handlers(open_files=set(), logged=[])


def read(handle: int, offset: int, size: int, flags: int = 2) -> bytes:
    """Return the body of READ, by default of a process, with the owner of its locks."""
    return struct.pack("=QQII16x", handle, offset, size, flags)


def test_a_file_is_read_without_libfuse(kernel: Kernel, handlers: Any) -> None:
    """OPEN, READ and RELEASE are answered as the kernel expects it; what goes wrong is an errno."""
    reading: Any = Reading(handlers, kernel.asked.fileno())

    def ask(opcode: int, body: bytes, inode: int = 4) -> tuple[int, bytes]:
        unique = kernel.ask(opcode, body, inode=inode)
        assert reading.answered(memoryview(kernel.asked.recv(4096)))
        error, answered, data = kernel.answer()
        assert answered == unique
        return error, data

    before = WORDS[REQUESTS]
    assert ask(protocol.OPEN, bytes(8)) == (0, struct.pack("=QII", 5, protocol.DIRECT_IO, 0))
    assert handlers.open_files == {5}
    for offset, size, text in ((0, 100, b"hello\n"), (0, 2, b"he"), (6, 100, b"")):
        assert ask(protocol.READ, read(5, offset, size)) == (0, text)
    assert ask(protocol.RELEASE, struct.pack("=Q16x", 5)) == (0, b"")
    assert handlers.open_files == set()
    assert ask(protocol.OPEN, bytes(8), inode=3) == (errno.ESTALE, b"")
    assert ask(protocol.READ, read(6, 0, 1)) == (errno.EIO, b"")
    assert ask(protocol.READ, read(5, 0, 4096, flags=0)) == (errno.EINVAL, b"")  # for the page cache
    assert len(handlers.logged) == 1
    assert WORDS[REQUESTS] == before + 8


def test_what_is_left_to_libfuse(kernel: Kernel, handlers: Any) -> None:
    """Every other request is left to libfuse, but for INTERRUPT, which nobody answers."""
    reading: Any = Reading(handlers, kernel.asked.fileno())
    for opcode in range(1, 60):
        if opcode not in (protocol.OPEN, protocol.READ, protocol.RELEASE):
            kernel.ask(opcode, bytes(40))
            assert reading.answered(memoryview(kernel.asked.recv(4096))) == (opcode == protocol.INTERRUPT)
    with pytest.raises(BlockingIOError):
        kernel.answer()


def test_a_caller_that_was_killed_keeps_no_file_open(kernel: Kernel, handlers: Any) -> None:
    """A file whose opening nobody waits for any more is closed again: the kernel will not."""
    null = os.open(os.devnull, os.O_RDONLY)  # nothing can be written there
    kernel.ask(protocol.OPEN, bytes(8), inode=4)
    assert Reading(handlers, null).answered(memoryview(kernel.asked.recv(4096)))
    os.close(null)
    assert handlers.open_files == set()

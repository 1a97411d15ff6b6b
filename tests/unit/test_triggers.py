"""Pressure triggers: who holds them, whom they wake, and what becomes of them when somebody dies."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import store
from lxcfs_py.daemon.triggers import GIVEN_SECONDS, MOST, MOST_OF_ONE, Service
from lxcfs_py.fuse.triggers import NO_TRIGGER, READY, WRITER, Triggers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Supervisor:
    """A running service with a pipe for /dev/fuse, a clock that stands still, and where workers connect."""

    def __init__(self) -> None:
        self.now, self.reports = 0.0, list[str]()
        self._control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.fuse, self._fuse = os.pipe2(os.O_NONBLOCK)
        self.ends, self.closed = store.ends(), set[int]()
        self.start()

    def start(self) -> None:
        """Have another service follow, if there was one."""
        kept = store.Store(*self.ends)
        self.service = Service(self._fuse, self._control, kept, self._opened, self.reports.append, lambda: self.now)
        self.service.start()

    def _opened(self, handle: int) -> object:
        return None if handle in self.closed else handle

    def worker(self) -> Triggers:
        """Return a worker's connection."""
        return Triggers(os.dup(self._theirs.fileno()))

    def stop(self) -> None:
        """End it."""
        self.service.stop()
        for descriptor in (self.fuse, self._fuse, *self.ends):
            os.close(descriptor)
        self._control.close()
        self._theirs.close()


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """Yield a running service that has nothing to complain of."""
    found = Supervisor()
    yield found
    found.stop()
    assert found.reports == []


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Return the path of something that can be opened for writing and watched as a pressure file can."""
    os.mkfifo(tmp_path / "cpu.pressure")
    return str(tmp_path / "cpu.pressure")


def held(path: str) -> int:
    """Return how many descriptors of a file this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}") == path
        except OSError:
            continue
    return found


def none_held(path: str) -> bool:
    """Wait for a while until this process has none."""
    deadline = time.monotonic() + 10
    while held(path) and time.monotonic() < deadline:
        time.sleep(0.001)
    return not held(path)


def die(worker: Triggers) -> None:
    """Close what a worker that dies has open; triggers stay set."""
    for end in (worker._control, worker._connection):
        if end is not None:
            end.close()


def test_one_trigger_a_file(supervisor: Supervisor, file: str) -> None:
    """A second trigger is EBUSY, also from another worker, but one that is asked for again after its worker died, or
    because any other did, is set; closing frees it.
    """
    first, second = supervisor.worker(), supervisor.worker()
    assert first.poll(1, b"") == NO_TRIGGER
    assert first.write(1, "a", file, b"x", privileged=False) == 0
    assert second.poll(1, b"") == READY
    assert (first.write(1, "a", file, b"x", privileged=False), held(file)) == (errno.EBUSY, 1)
    assert second.write(1, "a", file, b"x", privileged=False) == errno.EBUSY
    assert second.write(1, "a", file, b"y", privileged=False, resent=True) == errno.EBUSY
    assert (second.write(1, "a", file, b"x", privileged=False, resent=True), held(file)) == (0, 1)
    die(first)
    assert second.write(1, "a", file, b"y", privileged=False) == errno.EBUSY
    assert second.write(1, "a", file, b"x", privileged=False) == 0
    second.close(1)
    assert second.poll(1, b"") == NO_TRIGGER
    assert none_held(file)
    second.close(1)
    die(second)


def test_an_event_is_given_once(supervisor: Supervisor, file: str) -> None:
    """Whoever polls is woken and the first who asks gets the event, unless that worker dies before it can be sure."""
    first, second, event = supervisor.worker(), supervisor.worker(), READY | select.POLLPRI
    assert first.write(1, "a", file, b"x", privileged=False) == 0
    assert first.poll(1, b"wake") == READY
    supervisor.service.report(1, select.EPOLLPRI)
    assert os.read(supervisor.fuse, 99) == b"wake"
    assert [first.poll(1, b""), first.poll(1, b""), second.poll(1, b"")] == [event, READY, READY]
    supervisor.service.report(1, select.EPOLLPRI)
    assert first.poll(1, b"") == event
    die(first)
    assert second.poll(1, b"") == event
    assert os.read(supervisor.fuse, 99) == b"wakewake"
    supervisor.now += GIVEN_SECONDS
    die(second)
    third = supervisor.worker()
    assert third.poll(1, b"") == READY
    die(third)


def test_a_file_that_has_gone(supervisor: Supervisor, file: str) -> None:
    """A trigger whose cgroup has gone wakes its pollers, says POLLERR from then on, and holds nothing any more."""
    asked = supervisor.worker()
    assert asked.write(1, "a", file, b"x", privileged=False) == 0
    assert asked.poll(1, b"wake") == READY
    supervisor.service.report(1, select.EPOLLPRI | select.EPOLLERR)
    assert os.read(supervisor.fuse, 99) == b"wake"
    assert [asked.poll(1, b""), asked.poll(1, b"")] == [NO_TRIGGER, NO_TRIGGER]
    assert none_held(file)
    assert asked.write(1, "a", file, b"x", privileged=False) == errno.EBUSY
    asked.close(1)
    die(asked)


def test_limits(supervisor: Supervisor, file: str) -> None:
    """A container can't have more than its share, and all together not more than there may be."""
    asked, own = supervisor.worker(), 0
    for number in range(MOST):
        owner = f"container {number // MOST_OF_ONE}"
        assert asked.write(number, owner, file, b"x", privileged=False) == 0
        if number == MOST_OF_ONE - 1:
            own = asked.write(MOST, owner, file, b"x", privileged=False)
    assert own == errno.EMFILE
    assert asked.write(MOST, "another", file, b"x", privileged=False) == errno.ENOSPC
    for number in range(MOST):
        asked.close(number)
    assert asked.poll(0, b"") == NO_TRIGGER
    assert none_held(file)
    assert asked.write(MOST, "another", file, b"x", privileged=False) == 0
    die(asked)


def test_the_kernels_refusal_is_handed_on(supervisor: Supervisor, tmp_path: Path) -> None:
    """What opening the kernel's file fails with is what the writer is told."""
    asked = supervisor.worker()
    assert asked.write(1, "a", str(tmp_path / "gone"), b"x", privileged=False) == errno.ENOENT
    assert asked.write(1, "a", str(tmp_path), b"x", privileged=False) == errno.EISDIR
    assert asked.poll(1, b"") == READY | select.POLLERR | select.POLLPRI
    die(asked)


def test_no_supervisor(tmp_path: Path) -> None:
    """Without a supervisor setting a trigger fails at once, and a poll says there is nothing; nothing hangs."""
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.close()
    with theirs:
        asked = Triggers(os.dup(theirs.fileno()))
        assert asked.poll(1, b"") == READY
        with pytest.raises(OSError, match=r"refused|not connected"):
            asked.write(1, "a", "/nowhere", b"x", privileged=False)
        die(asked)


def test_triggers_outlive_a_supervisor(supervisor: Supervisor, file: str) -> None:
    """The next supervisor has them, wakes who polls, and closes what was closed meanwhile."""
    before = supervisor.worker()
    for handle in (1, 2):
        assert before.write(handle | WRITER, "a", file, b"x", privileged=False) == 0
        assert before.poll(handle | WRITER, b"wake %d" % handle) == READY
    supervisor.service.stop(keep=True)
    die(before)
    assert none_held(file)
    supervisor.closed.add(2)
    supervisor.start()
    assert held(file) == 2
    supervisor.service.resume()
    after = supervisor.worker()
    deadline = time.monotonic() + 10
    while held(file) != 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert held(file) == 1
    assert os.read(supervisor.fuse, 99) == b"wake 1"
    assert (after.poll(1 | WRITER, b""), after.poll(2 | WRITER, b"")) == (READY, NO_TRIGGER)
    supervisor.service.report(1 | WRITER, select.EPOLLPRI)
    assert after.poll(1 | WRITER, b"") == READY | select.POLLPRI
    after.close(1 | WRITER)
    assert after.poll(1 | WRITER, b"") == NO_TRIGGER
    assert none_held(file)
    die(after)

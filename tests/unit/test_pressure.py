"""Pressure triggers: their text, and who holds them."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import store
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.daemon.triggers import GIVEN_SECONDS, MOST, MOST_OF_ONE, Service
from lxcfs_py.fuse import triggers
from lxcfs_py.fuse.triggers import NO_TRIGGER, READY, WRITER, Triggers
from lxcfs_py.host import Host
from lxcfs_py.procfs import status
from lxcfs_py.procfs.pressure import LEAST_WINDOW_USEC, MOST_WINDOW_USEC, Trigger, trigger
from lxcfs_py.reader import Reader
from lxcfs_py.views.pressure import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIBC = ctypes.CDLL(None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"some 150000 2000000", Trigger("some", 150_000, 2_000_000)),
        (b"full 500000 500000\n", Trigger("full", 500_000, 500_000)),
        (b"full 1 10000000\0garbage", Trigger("full", 1, 10_000_000)),
        (b"some150000 2000000 and more", Trigger("some", 150_000, 2_000_000)),
        (b"some 4294967297 2000000", Trigger("some", 1, 2_000_000)),
        (b"some 150000 499999", None),
        (b"some 150000 10000001", None),
        (b"some 0 2000000", None),
        (b"some 2000001 2000000", None),
        (b"some 1500002000000", None),
        (b"some -1 2000000", None),
        (b" some 150000 2000000", None),
        (b"half 150000 2000000", None),
        (b"some 150000\0 2000000", None),
        (b"some 1                  2000000 0", Trigger("some", 1, 2_000_000)),
        (b"some 1                        2000000", None),
        (b"some \xff\xfe", None),
        (b"", None),
    ],
)
def test_trigger(text: bytes, found: Trigger | None) -> None:
    """A trigger is read as the kernel reads it, and refused where the kernel or its document refuses."""
    assert trigger(text) == found


@given(st.from_regex(rb"(some|full|so)[ \t\n]{0,2}[0-9]{0,8}[ \t\n]{0,2}[0-9]{0,8}[ a0]?", fullmatch=True))
def test_trigger_as_sscanf(text: bytes) -> None:
    """For numbers that fit, what is read is what sscanf("some %u %u") reads, and its bounds are psi.rst's."""
    threshold, window = ctypes.c_uint(), ctypes.c_uint()
    expected = None
    for kind in ("some", "full"):
        shape = f"{kind} %u %u".encode()
        if LIBC.sscanf(text, shape, ctypes.byref(threshold), ctypes.byref(window)) == 2:
            expected = Trigger(kind, threshold.value, window.value)
    if expected and not (
        LEAST_WINDOW_USEC <= expected.window_usec <= MOST_WINDOW_USEC
        and 0 < expected.threshold_usec <= expected.window_usec
    ):
        expected = None
    assert trigger(text) == expected


@given(st.binary(max_size=64))
def test_no_text_is_too_odd(text: bytes) -> None:
    """Whatever is written: a trigger within its bounds, whose own text says the same, or none."""
    found = trigger(text)
    assert found is None or trigger(found.text) == found


@given(st.binary(max_size=200))
def test_effective_capabilities(text: bytes) -> None:
    """CapEff is a mask; cut and odd texts give the empty one."""
    assert status.effective(text) == 0
    assert status.effective(b"Name:\tx\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n") == 0x1FFFEFFFFFF


def test_privileged(tmp_path: Path) -> None:
    """Only CAP_SYS_RESOURCE over the initial user namespace counts, and a process that has gone has no right."""
    ours, theirs = "user:[4026531837]", "user:[4026532000]"
    for pid, (mask, namespace) in enumerate([(1 << 24, ours), (1 << 24, theirs), (~(1 << 24), ours)]):
        (tmp_path / f"{pid}/ns").mkdir(parents=True)
        (tmp_path / f"{pid}/ns/user").symlink_to(namespace)
        (tmp_path / f"{pid}/status").write_text(f"CapEff:\t{mask & (1 << 64) - 1:016x}\n")
    assert [triggers.privileged(str(tmp_path), pid) for pid in range(4)] == [True, False, False, False]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a hybrid host: v1 memory, and cgroup2 with pressure."""
    for at in ("proc/self", "proc/pressure", "cgroup/unified/a", "cgroup/memory/a"):
        (tmp_path / at).mkdir(parents=True)
    for resource in ("cpu", "io", "memory"):
        (tmp_path / f"proc/pressure/{resource}").write_text("the machine's\n")
        (tmp_path / f"cgroup/unified/{resource}.pressure").write_text("the machine's\n")
        (tmp_path / f"cgroup/unified/a/{resource}.pressure").write_text(f"a's {resource}\n")
    mounts = (
        "30 1 0:1 / /sys/fs/cgroup/unified rw - cgroup2 c rw",
        "31 1 0:2 / /sys/fs/cgroup/memory rw - cgroup c rw,memory",
    )
    (tmp_path / "proc/self/mountinfo").write_text("\n".join(mounts))
    return Host(proc=str(tmp_path / "proc"), cgroup=str(tmp_path / "cgroup"))


def test_the_cgroups_file_or_none(host: Host) -> None:
    """A container gets its cgroup's text; one without a cgroup2 of its own gets no file, and never the machine's."""
    reader = Reader(host)
    inside = Container("a", Cgroup({"memory": "/a", "": "/a"}))
    outside = [Container("b", Cgroup({"memory": "/a", **paths})) for paths in ({}, {"": "/"}, {"": "/gone"})]
    for path, file in FILES.items():
        resource = path.rpartition("/")[2]
        there = resource != "irq"
        assert file.exists(reader, None) == file.exists(reader, inside) == there
        if there:
            assert file.read(reader, inside) == f"a's {resource}\n".encode()
        for container in outside:
            assert not file.exists(reader, container)
            with pytest.raises(OSError, match=r"pressure|No such file"):
                file.read(reader, container)


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

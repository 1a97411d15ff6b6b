"""What all workers share: nobody can use it up, and it goes back to the system."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py import shared
from lxcfs_py.cgroup.api import Cgroup, CpuTime
from lxcfs_py.container import Container
from lxcfs_py.loads import PROBES, Loads
from lxcfs_py.nodes import FIRST, PLACES, Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS = 2
NESTED = "pid:[1]/pid:[{0}]:{0}@1"
"""A container found by its caller, in a pid namespace within another: by number."""


@pytest.fixture
def memory() -> Iterator[shared.Shared]:
    """Yield new shared memory."""
    found = shared.Shared(os.memfd_create("shared"), WORKERS, 2, 4096)
    yield found
    os.close(found.descriptor)


def fill(memory: shared.Shared, key: str) -> list[int]:
    """Open files for a container until there is an error."""
    handles: list[int] = []
    try:
        while True:
            handles.append(memory.open(0, b"about", 1, key))
    except shared.FullError:
        return handles


def test_a_greedy_container_has_its_share(memory: shared.Shared) -> None:
    """A container that opens without end gets EMFILE, also through pid namespaces of its own; others go on."""
    assert len(fill(memory, "greedy@1")) == shared.OPENS_OF_ONE
    nested = (memory.open(0, b"", 1, NESTED.format(number)) for number in itertools.count())
    with pytest.raises(shared.FullError) as caught:
        assert len(list(nested)) > shared.OPENS
    assert caught.value.errno == errno.EMFILE
    for number in range(100):
        assert memory.opened(memory.open(0, b"x", 7, f"other-{number}@1")) == (b"x", 7, -1, False)


def test_when_all_is_full(memory: shared.Shared) -> None:
    """Containers enough fill one worker's slots: ENFILE, until something is closed; another worker has its own."""
    handles = [handle for number in range(8) for handle in fill(memory, f"greedy-{number}@1")]
    assert len(set(handles)) == shared.OPENS
    with pytest.raises(shared.FullError) as caught:
        memory.open(0, b"", 1, "other@1")
    assert caught.value.errno == errno.ENFILE
    assert memory.opened(memory.open(1, b"", 1, "other@1")) is not None
    memory.release(handles[9])
    assert memory.open(0, b"", 1, "other@1") not in handles


def test_memory_goes_back(memory: shared.Shared) -> None:
    """What ten thousand open files and their texts took is the system's again once they are closed."""
    before = os.fstat(memory.descriptor).st_blocks
    handles = fill(memory, "greedy@1")
    for handle in handles:
        memory.keep(handle, b"x" * 10000, whole=False)
    assert (os.fstat(memory.descriptor).st_blocks - before) * 512 > len(handles) * 12000
    for handle in handles:
        memory.release(handle)
    assert (os.fstat(memory.descriptor).st_blocks - before) * 512 < 2 << 20


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_bogus_handles(memory: shared.Shared, handle: int) -> None:
    """A handle that was never given out stands for nothing, and giving it back changes nothing."""
    assert memory.opened(handle) is None
    memory.release(handle)
    assert memory.opened(handle) is None


def test_handles_are_not_taken_for_each_other(memory: shared.Shared) -> None:
    """What was given back is nobody's, also when its slot is another's."""
    first = memory.open(0, b"a", 1, "a@1")
    memory.release(first)
    second = memory.open(0, b"b", 2, "b@1")
    assert first & 0xFFFFFFFF == second & 0xFFFFFFFF
    memory.release(first)
    assert (memory.opened(first), memory.opened(second)) == (None, (b"b", 2, -1, False))


def test_no_account_is_lost_to_a_greedy_container(memory: shared.Shared) -> None:
    """A container with thousands of pid namespaces makes no other container's CPU counters begin again."""
    others = [f"other-{number}@1" for number in range(500)]
    for now, key in enumerate(others):
        memory.accounts.advance(key, 0, now + 1, CpuTime(1000, 600, 400), 1)
    before = {key: memory.accounts.advance(key, 0, 1_000_000_000, CpuTime(5000, 3000, 2000), 1) for key in others}
    for number in range(5000):
        memory.accounts.advance(NESTED.format(number), 0, 2_000_000_000 + number, CpuTime(1, 1, 0), 1)
    for key, account in before.items():
        after = memory.accounts.advance(key, 0, 3_000_000_000, CpuTime(5000, 3000, 2000), 1)
        assert after.cpus[0][0] >= account.cpus[0][0] > 0
        assert after.cpus[0][3] > account.cpus[0][3]


def test_no_load_is_lost_to_a_greedy_container() -> None:
    """A container with thousands of pid namespaces has a few places in the table of loads; others find room."""
    descriptor = os.memfd_create("loads")
    try:
        loads = Loads(descriptor)
        places = {loads.add(Container(NESTED.format(number), Cgroup({}))) for number in range(5000)}
        assert 1 < len(places) <= PROBES + 1
        others = {loads.add(Container(f"other-{number}@1", Cgroup({}))) for number in range(1000)}
        assert (len(others), -1 in others) == (1000, False)
    finally:
        os.close(descriptor)


def test_places_of_the_dead_are_used_again() -> None:
    """Containers that come and go without end, also under one name, find a number; the living keep theirs."""
    ended: set[str] = set()
    descriptor = os.memfd_create("nodes")
    try:
        nodes = Nodes(descriptor)
        nodes.gone = lambda path: path.split("/")[1] in ended
        keep = {path: nodes.inode(path) for path in (f"containers/keep@1/proc/{n}" for n in range(500))}
        for start in range(PLACES // 100 + 50):
            for file in range(100):
                nodes.inode(f"containers/web@{start}/proc/{file}")
            ended.add(f"web@{start}")
        assert {path: nodes.inode(path) for path in keep} == keep
        assert {inode: nodes.path(inode) for inode in keep.values()} == {inode: path for path, inode in keep.items()}
        old = next(number for number in range(FIRST, PLACES) if nodes._read(number)[0] > 1)
        with pytest.raises(OSError, match="gone"):
            nodes.path(1 << 32 | old)
    finally:
        os.close(descriptor)


def test_the_table_grows_with_the_living() -> None:
    """Ten thousand containers, of which few live at a time, take little more memory than those few."""
    descriptor = os.memfd_create("nodes")
    try:
        nodes, living = Nodes(descriptor), dict.fromkeys(range(10), True)
        nodes.gone = lambda path: int(path.split("/")[1]) not in living
        for number in range(10, 10_000):
            living.pop(number - 10)
            living[number] = True
            for file in range(20):
                nodes.inode(f"containers/{number}/proc/{file}")
        assert os.fstat(descriptor).st_blocks * 512 < 1 << 20
    finally:
        os.close(descriptor)


class Dying(Nodes):
    """A worker that dies after so many writes."""

    writes = 0

    def _write(self, at: int, data: bytes) -> None:
        self.writes -= 1
        if self.writes < 0:
            raise KeyboardInterrupt
        super()._write(at, data)


def test_a_worker_may_die_while_it_writes_the_table() -> None:
    """Whichever of its writes is the last, others find every path and number as before, and room for more."""
    descriptor = os.memfd_create("nodes")
    try:
        nodes, ended = Nodes(descriptor), set[str]()
        nodes.gone = lambda path: path in ended
        keep = {path: nodes.inode(path) for path in map(str, range(200))}
        for last in range(40):
            dying = Dying(descriptor)
            dying.gone, dying.writes = nodes.gone, last
            ended |= {f"{last}-{name}" for name in "ab"}
            with contextlib.suppress(KeyboardInterrupt):
                for name in "abc":
                    dying.inode(f"{last}-{name}")
            assert {path: nodes.inode(path) for path in keep} == keep
            assert {nodes.path(inode) for inode in keep.values()} == set(keep)
            new = f"{last}-new"
            assert nodes.path(nodes.inode(new)) == new
    finally:
        os.close(descriptor)


def test_what_a_dead_worker_took_comes_back(memory: shared.Shared) -> None:
    """A slot taken for a request that was not answered is given back at once, one taken before it never."""
    before = memory.open(0, b"about", 1, "a@1")
    since = time.monotonic_ns()
    assert memory.took(0, since) == -1
    assert memory.took(1, 0) == -1
    taken = memory.took(0, since) if memory.open(0, b"lost", 1, "a@1") else -1
    assert taken >= 0
    memory.untake(taken)
    assert memory.took(0, since) == -1
    assert memory.taken() == 1
    assert memory.opened(before) == (b"about", 1, -1, False)


def test_a_slot_in_doubt(memory: shared.Shared) -> None:
    """Where nobody knows who has a slot, it goes once its thread has ended, unless it has been used meanwhile."""
    lost, used = memory.open(0, b"lost", 10, "a@1"), memory.open(1, b"used", 20, "a@1")
    for worker in range(WORKERS):
        memory.doubt(memory.took(worker, 0))
    memory.reclaim(lambda _tid: True)
    assert memory.taken() == 2
    assert memory.opened(used) == (b"used", 20, -1, False)
    memory.reclaim(lambda tid: tid not in (10, 20))
    assert memory.taken() == 1
    assert memory.opened(lost) is None
    assert memory.opened(used) == (b"used", 20, -1, False)
    memory.release(used)
    assert memory.taken() == 0


def test_a_text_that_comes_too_late_is_kept_for_nobody(memory: shared.Shared) -> None:
    """A worker that was slow, so that another answered and the file was closed, leaves the next file's text alone."""
    closed = memory.open(0, b"one", 1, "a@1")
    memory.release(closed)
    following = memory.open(0, b"two", 2, "b@1")
    assert closed & 0xFFFFFFFF == following & 0xFFFFFFFF
    memory.keep(following, b"b's", whole=False)
    memory.keep(closed, b"a's text", whole=False)
    assert memory.kept(following) == (3, True)
    assert memory.text(following, 0, 100)[:3] == b"b's"


def test_handles_of_another_memory_are_none(memory: shared.Shared) -> None:
    """A file that was opened before the memory was begun anew is not taken for one that was opened since; all who
    have one memory know its handles.
    """
    other = shared.Shared(os.memfd_create("shared"), WORKERS, 2, 4096)
    again = shared.Shared(memory.descriptor, WORKERS, 2, 4096)
    old, new = (each.open(0, b"about", 1, "web@1") for each in (other, memory))
    assert memory.opened(old) is None
    memory.release(old)
    assert again.opened(new) == (b"about", 1, -1, False)
    assert old & 0xFFFFFFFF == new & 0xFFFFFFFF
    os.close(other.descriptor)


@pytest.mark.parametrize("base", [0, 0x7FFFFFFF, 0x80000000, (1 << 64) - 1])
def test_handles_at_any_base(memory: shared.Shared, base: int) -> None:
    """Wherever the numbers begin, a handle is a positive number that is no longer one's once it is given back."""
    memory._base = base
    handles = []
    for _ in range(3):
        handles.append(memory.open(0, b"x", 1, "web@1"))
        assert memory.opened(handles[-1]) is not None
        memory.release(handles[-1])
        assert all(0 <= handle < 1 << 63 and memory.opened(handle) is None for handle in handles)
    assert len(set(handles)) == 3

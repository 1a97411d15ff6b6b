"""What the seccomp agent answers: layouts, numbers and which CPUs."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup import Cgroups
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from lxcfs_py.seccomp import affinity, agent, protocol, sysinfo

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
FIGURES = sysinfo.Figures(1_000_000_001, (65536, 1, 2), 256 << 20, 128 << 20, 3, 4, 5 << 20, 6, 70_000)


class Sysinfo(ctypes.Structure):
    """struct sysinfo as a C compiler lays it out."""

    _fields_ = (
        ("uptime", ctypes.c_long),
        ("loads", ctypes.c_ulong * 3),
        *((name, ctypes.c_ulong) for name in ("total", "free", "shared", "buffer", "swap", "swap_free")),
        ("procs", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
        ("high", ctypes.c_ulong),
        ("high_free", ctypes.c_ulong),
        ("unit", ctypes.c_uint32),
    )


class CompatSysinfo(ctypes.Structure):
    """The same of a 32-bit compiler."""

    _fields_ = (
        ("uptime", ctypes.c_int32),
        ("loads", ctypes.c_uint32 * 3),
        *((name, ctypes.c_uint32) for name in ("total", "free", "shared", "buffer", "swap", "swap_free")),
        ("procs", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
        ("high", ctypes.c_uint32),
        ("high_free", ctypes.c_uint32),
        ("unit", ctypes.c_uint32),
        ("fill", ctypes.c_char * 8),
    )


@pytest.mark.parametrize(("bits", "layout"), [(64, Sysinfo), (32, CompatSysinfo)])
def test_layout(bits: int, layout: type[Sysinfo | CompatSysinfo]) -> None:
    """Every field is where a compiler puts it; seconds are rounded up, the count of tasks fits 16 bits."""
    data = sysinfo.pack(FIGURES, bits)
    assert len(data) == ctypes.sizeof(layout)
    found = layout.from_buffer_copy(data)
    assert (found.uptime, *found.loads) == (2, 65536, 1, 2)
    assert (found.total, found.free, found.shared, found.buffer) == (256 << 20, 128 << 20, 3, 4)
    assert (found.swap, found.swap_free, found.procs, found.high, found.unit) == (5 << 20, 6, 65535, 0, 1)


def test_a_32_bit_caller_of_much_memory() -> None:
    """Totals that 32 bits can't hold are in pages, as the kernel gives them."""
    much = FIGURES.replace(total_bytes=8 * GIB, free_bytes=5 * GIB)
    found = CompatSysinfo.from_buffer_copy(sysinfo.pack(much, 32))
    assert (found.total, found.free, found.unit) == (8 * GIB // 4096, 5 * GIB // 4096, 4096)
    assert Sysinfo.from_buffer_copy(sysinfo.pack(much, 64)).unit == 1


@given(st.sets(st.integers(0, 8191), min_size=1), st.integers(1, 9000), st.text())
def test_choice(real: set[int], n: int, key: str) -> None:
    """The CPUs told are n of the real ones, or all if they are fewer, and always the same for a container."""
    found = affinity.choose(real, n, key)
    assert set(found) <= real
    assert len(found) == len(set(found)) == min(n, len(real))
    assert affinity.choose(real, n, key) == found
    assert tuple(affinity.numbers(affinity.mask(found, 1024))) == tuple(found)


def test_choice_differs_between_containers() -> None:
    """Of four containers' worth of one CPU not all get the first, and every CPU is somebody's."""
    found = [affinity.choose(range(4), 1, f"container{number}")[0] for number in range(400)]
    assert all(60 < found.count(cpu) < 140 for cpu in range(4))


@pytest.mark.parametrize("length", [8, 128, 1024, 8192, 1 << 31])
def test_real_mask_is_the_kernels(length: int) -> None:
    """What the kernel answers for a task is passed on with its length, however long the buffer."""
    data = affinity.real(0, length)
    assert data is not None
    assert set(affinity.numbers(data)) == os.sched_getaffinity(0)
    assert len(data) <= length


@pytest.mark.parametrize(("tid", "length"), [(0, 0), (0, 7), (0, 12), (2**30, 128)])
def test_odd_masks_are_the_kernels_to_refuse(tid: int, length: int) -> None:
    """A length the kernel refuses, and a task that is not there, have no answer of ours."""
    assert affinity.real(tid, length) is None


def test_own_number() -> None:
    """0 is the caller; a number in our own pid namespace is itself; one that nobody has is nobody."""
    assert affinity.task(Host(), 4711, 0, lambda: ()) == 4711
    assert affinity.task(Host(), os.getpid(), os.getpid(), lambda: (os.getpid(),)) == os.getpid()
    assert affinity.task(Host(), os.getpid(), 2**30, lambda: (os.getpid(),)) == 0
    assert affinity.task(Host(), 2**30, 1, lambda: ()) == 0


def status(proc: Path, tid: int, numbers: str, task_of: int = 0) -> None:
    """Write what a kernel before 6.11 offers about a task."""
    (proc / str(tid) / "ns").mkdir(parents=True)
    (proc / str(tid) / "ns" / "pid").touch()
    (proc / str(tid) / "status").write_text(f"Name:\tx\nNSpid:\t{numbers}\n")
    (proc / str(task_of or tid) / "task" / str(tid)).mkdir(parents=True)


def test_numbers_before_6_11(tmp_path: Path) -> None:
    """A task is found among the caller's threads and the container's processes by its number there."""
    status(tmp_path, 500, "500\t7")
    status(tmp_path, 501, "501\t8", task_of=500)
    status(tmp_path, 600, "600\t9\t1")
    host = Host(proc=str(tmp_path))
    assert affinity.task(host, 500, 8, lambda: (500, 600)) == 501
    assert affinity.task(host, 500, 9, lambda: (500, 600)) == 600
    assert affinity.task(host, 500, 1, lambda: (500, 600)) == 0


@pytest.mark.parametrize(
    ("audit", "number", "expected"),
    [
        (0xC000003E, 99, ("sysinfo", 64)),
        (0x40000003, 116, ("sysinfo", 32)),
        (0xC000003E, 204, ("sched_getaffinity", 64)),
        (0x40000003, 242, ("sched_getaffinity", 32)),
        (0x40000003, 99, ("", 64)),
    ],
)
def test_calls_are_recognised(audit: int, number: int, expected: tuple[str, int]) -> None:
    """struct seccomp_notif is read as the kernel writes it; a call of a foreign filter has no name."""
    data = struct.pack("=QIIiIQ6Q", 5, 6, 0, number, audit, 1, 10, 11, 12, 13, 14, 15)
    found = protocol.parse_call(data + bytes(protocol.SLOT_BYTES - len(data)))
    assert (found.id, found.tid, found.arguments) == (5, 6, (10, 11, 12, 13, 14, 15))
    assert (found.name, found.bits) == expected


def test_responses() -> None:
    """A value is returned as it is; None lets the kernel carry the call out."""
    assert struct.unpack("=QqiI", protocol.response(5, 128)) == (5, 128, 0, 0)
    assert struct.unpack("=QqiI", protocol.response(5, None)) == (5, 0, 0, 1)


@given(st.binary() | st.recursive(st.none() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_any_state_is_read_or_refused(data: object) -> None:
    """Whatever a runtime sends, the keeper survives it."""
    sent = data if isinstance(data, bytes) else repr(data).replace("'", '"').encode("utf-8", "replace")
    for text in (sent, b'{"fds": %s, "state": {"id": 1}}' % sent, b"[" * 9000, b'{"fds": ["seccompFd"], "state": 1}'):
        assert protocol.parse_state(text) is None
    half = rb'{"fds": ["seccompFd"], "state": {"id": "\ud800"}}'
    assert protocol.parse_state(half) is None, "no message can say it"


@given(st.integers(0, protocol.SLOTS - 1), st.text(st.characters(codec="utf-8"), max_size=255))
def test_places(slot: int, id_: str) -> None:
    """What the keeper says to the agent arrives."""
    assert protocol.parse_place(protocol.place(slot, id_)) == (slot, id_)


@pytest.mark.parametrize(("name", "version", "file"), [("", 2, "cgroup.threads"), ("pids", 1, "tasks")])
def test_tasks(tmp_path: Path, name: str, version: int, file: str) -> None:
    """Tasks are pids.current's where there is one, otherwise counted in the cgroup and all below it."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / file).write_text("1\n2\n")
    (tmp_path / "a" / "b" / file).write_text("3\n")
    layout = Layout({name: Hierarchy(version, str(tmp_path), controllers=("pids",))})
    found = Cgroups(Host(), Files(), layout)
    assert found.tasks(Cgroup({name: "/a"})) == 3
    (tmp_path / "a" / "pids.current").write_text("5\n")
    assert found.tasks(Cgroup({name: "/a"})) == 5
    assert found.tasks(Cgroup({name: "/gone"})) == 0


@pytest.mark.parametrize(
    ("states", "expected"),
    [("R", True), ("RRRRR", True), ("DRDR", True), ("DD", False), ("RDD", False)],
)
def test_an_agent_that_ends_slowly_is_not_held_up(states: str, expected: bool) -> None:
    """One that was killed and waits for a CPU will end; one that waits for what never comes is held up."""
    ends, end = os.pipe()
    left = list(states)

    def state() -> str:
        found = left.pop(0)
        if not left and expected:
            os.write(end, b"!")
        return found

    try:
        assert agent.ended(ends, state) is expected
    finally:
        os.close(ends)
        os.close(end)

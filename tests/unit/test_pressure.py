"""Pressure files: the text of a trigger, who may set one, and whose file it is."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.fuse import triggers
from lxcfs_py.host import Host
from lxcfs_py.procfs import status
from lxcfs_py.procfs.pressure import LEAST_WINDOW_USEC, MOST_WINDOW_USEC, Trigger, trigger
from lxcfs_py.reader import Reader
from lxcfs_py.views.pressure import FILES

if TYPE_CHECKING:
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

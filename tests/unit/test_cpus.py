"""The directory of CPUs: names, masks and ids for N renumbered CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import tree
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.host import Host
from lxcfs_py.procfs import cpulist, cpumask
from lxcfs_py.reader import Reader
from lxcfs_py.served import BOUND, CPU, FILES, NODE
from lxcfs_py.views import cpus, read
from lxcfs_py.views.cpus import Seen

if TYPE_CHECKING:
    from pathlib import Path

SETS = st.frozensets(st.integers(0, 300), max_size=40)


@given(SETS)
def test_masks_are_the_kernels(numbers: frozenset[int]) -> None:
    """A mask has commas every eight digits, is as wide as its pattern, and reads back."""
    like = b"0000ffff," + b",".join([b"00000000"] * 9) + b"\n"
    text = cpumask.render(numbers, like)
    assert cpumask.parse(text.encode()) == numbers
    assert len(text) == len(like) - 1
    assert all(len(group) == 8 for group in text.split(",")[1:])
    assert cpumask.render({0}, b"f\n") == "1"


@given(st.binary(max_size=60), SETS.filter(bool), st.sampled_from([*cpus.MASKS, *cpus.POLICY, *cpus.IDS, "size"]))
def test_garbage_never_crashes(host: bytes, seen: frozenset[int], name: str) -> None:
    """Whatever the host's file holds, a text comes, and no CPU in it that is not seen."""
    order = tuple(sorted(seen))
    for suffix in ("", "_list", "_map"):
        path = f"{CPU}/cpu0/topology/{name}{suffix}"
        for apart in (True, False):
            text = cpus.render(path, host, Seen(order, apart))
            if suffix == "_list" and name in cpus.MASKS:
                assert cpulist.parse(text) <= set(range(len(order)))
    cpumask.parse(host)


def test_paths_lead_to_the_cpus_that_are_seen() -> None:
    """cpu0 is the first CPU of the cpuset; those beyond N, and odd spellings, are not there."""
    assert cpus.host_path(f"{CPU}/cpu1/topology/core_id", (2, 5)) == f"{CPU}/cpu5/topology/core_id"
    assert cpus.host_path(f"{CPU}/cpu0", (2, 5)) == f"{CPU}/cpu2"
    assert cpus.host_path(f"{NODE}/node1/cpu1", (2, 5)) == f"{NODE}/node1/cpu5"
    assert cpus.target(f"{NODE}/node1/cpu1", "../../cpu/cpu5") == "../../cpu/cpu1"
    assert cpus.target(f"{CPU}/cpu1/node0", "../../node/node0") == "../../node/node0"
    assert cpus.host_path(f"{CPU}/cpuidle/current_driver", (2, 5)) == f"{CPU}/cpuidle/current_driver"
    for path in (f"{CPU}/cpu2", f"{CPU}/cpu01", f"{CPU}/cpu99/online", f"{NODE}/node1/cpu2"):
        with pytest.raises(FileNotFoundError):
            cpus.host_path(path, (2, 5))
    host = ["cpu0", "cpu1", "cpu10", "cpu2", "cpufreq", "cpuidle", "online"]
    assert sorted(cpus.names(host, (0, 10))) == ["cpu0", "cpu1", "cpufreq", "cpuidle", "online"]
    assert sorted(cpus.names(["cpu8", "cpu10", "meminfo"], (0, 10))) == ["cpu1", "meminfo"]


@pytest.mark.parametrize(
    ("file", "host", "seen", "apart", "text"),
    [
        ("online", b"0-7\n", (2, 5, 6), True, b"0-2\n"),
        ("present", b"0-7\n", (3,), True, b"0\n"),
        ("offline", b"8-9\n", (3,), True, b"\n"),
        ("kernel_max", b"255\n", (3,), True, b"255\n"),
        ("isolated", b"5-7\n", (2, 5, 6), True, b"1-2\n"),
        ("isolated", b"\n", (2, 5, 6), True, b"\n"),
        ("nohz_full", b"  (null)\n", (2, 5, 6), True, b"  (null)\n"),
        # two cores of one package
        ("cpu1/topology/thread_siblings", b"20\n", (2, 5), True, b"02\n"),
        ("cpu1/topology/core_siblings_list", b"0-7\n", (2, 5), True, b"0-1\n"),
        ("cpu1/topology/core_id", b"5\n", (2, 5), True, b"5\n"),
        # two threads of one core, or of two packages: shown as cores of one
        ("cpu1/topology/thread_siblings_list", b"2,5\n", (2, 5), False, b"1\n"),
        ("cpu1/topology/core_cpus", b"24\n", (2, 5), False, b"02\n"),
        ("cpu1/topology/package_cpus_list", b"4-7\n", (2, 5), False, b"0-1\n"),
        ("cpu1/topology/core_id", b"0\n", (2, 5), False, b"1\n"),
        ("cpu1/topology/physical_package_id", b"1\n", (2, 5), False, b"0\n"),
        # what is shared stays shared
        ("cpu1/cache/index0/shared_cpu_map", b"24\n", (2, 5), False, b"03\n"),
        ("cpu0/cache/index3/shared_cpu_list", b"0-3\n", (2, 5), True, b"0\n"),
        ("cpufreq/policy4/affected_cpus", b"4 5 6\n", (2, 5), True, b"1\n"),
        ("cpu0/cache/index3/size", b"32768K\n", (2, 5), True, b"32768K\n"),
    ],
)
def test_files(file: str, host: bytes, seen: tuple[int, ...], *, apart: bool, text: bytes) -> None:
    """Each file that names CPUs names the container's; all others are the host's."""
    assert cpus.render(f"{CPU}/{file}", host, Seen(seen, apart)) == text


def test_one_picture(tmp_path: Path) -> None:
    """On a host of two packages of two threads, a container on CPUs 1 and 2 sees two cores of one package."""
    directory = tmp_path / CPU
    for cpu in range(4):
        at = directory / f"cpu{cpu}/topology"
        at.mkdir(parents=True)
        for name, text in {
            "physical_package_id": f"{cpu // 2}", "core_id": "0",
            "core_cpus_list": ("0-1", "2-3")[cpu // 2], "package_cpus_list": ("0-1", "2-3")[cpu // 2],
        }.items():  # fmt: skip
            (at / name).write_text(text + "\n")
    (directory / "online").write_text("0-3\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "cgroup/box").mkdir(parents=True)
    (tmp_path / "cgroup/cgroup.controllers").write_text("cpuset\n")
    (tmp_path / "cgroup/box/cpuset.cpus.effective").write_text("1-2\n")
    reader = Reader(Host(str(tmp_path / "proc"), str(tmp_path / "sys"), str(tmp_path / "cgroup")))

    def picture(cgroup: str) -> list[list[str]]:
        found = Container("x", Cgroup({"": cgroup}))
        names = ("physical_package_id", "core_id", "core_cpus_list", "package_cpus_list")
        paths = [[f"{CPU}/cpu{cpu}/topology/{name}" for name in names] for cpu in range(2)]
        return [[read(reader, found, path).decode().strip() for path in row] for row in paths]

    assert picture("/box") == [["0", "0", "0", "0-1"], ["0", "1", "1", "0-1"]]
    assert picture("/") == [["0", "0", "0-1", "0-1"], ["0", "0", "0-1", "0-1"]]
    with pytest.raises(FileNotFoundError):
        read(reader, Container("x", Cgroup({"": "/box"})), f"{CPU}/cpu2/topology/core_id")


def test_the_tree_is_derived_from_the_list() -> None:
    """Every file that is served is in its directory, and what is bound leads somewhere."""
    for path in FILES:
        parent, _, name = path.rpartition("/")
        assert name in (tree.children(parent, container=True) or ())
        assert tree.is_view(path)
    for directory in (CPU, NODE):
        assert tree.children(directory, container=False) == ()
        assert tree.is_passed(f"{directory}/online")
        assert not tree.is_passed(directory)
    assert set(BOUND) == {*FILES, CPU, NODE}
    assert tree.children("", container=False) == ("containers", "proc", "sys")

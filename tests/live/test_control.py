"""Cgroups made for real: v1 here, v2 in the guests."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.cgroup import Cgroups, control, layout
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from runtime.process import cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = Host()
MIB = 1 << 20


@pytest.fixture
def there() -> layout.Layout:
    """Return this host's hierarchies."""
    return layout.detect(HOST, Files())


@pytest.fixture
def path(there: layout.Layout) -> Iterator[str]:
    """Yield a path to make; it is emptied and removed afterwards."""
    name = f"/pyproc-test-{os.getpid()}/one"
    yield name
    control.kill_all(HOST, there, name)
    control.remove(HOST, there, os.path.dirname(name))


def cgroup(there: layout.Layout, path: str) -> Cgroup:
    """Return the same path in every hierarchy."""
    return Cgroup(dict.fromkeys(there.hierarchies, path))


def inside(there: layout.Layout, path: str, script: str) -> subprocess.Popen[bytes]:
    """Start a Python script in the cgroup."""
    doors = control.doors(there, path)
    command = [sys.executable, "-IS", "-c", script]
    return subprocess.Popen(command, stdin=subprocess.PIPE, preexec_fn=lambda: control.enter(doors))


def test_limits_are_read_back(there: layout.Layout, path: str) -> None:
    """What the writing half sets, the reading half finds, also below a cgroup that carries it."""
    limits = control.Limits(
        memory_bytes=64 * MIB,
        swap_total_bytes=96 * MIB,
        cpu_quota_usec=150_000,
        cpu_period_usec=100_000,
        pids_limit=9,
    )
    control.create(HOST, there, path, limits)
    control.create(HOST, there, f"{path}/leaf", control.Limits())
    read = Cgroups(HOST, Files())
    for at in (path, f"{path}/leaf"):
        found = read.memory(cgroup(there, at))
        assert min(level.limit_bytes for level in found if level.limit_bytes is not None) == 64 * MIB
        assert read.cpu_quota(cgroup(there, at)) == 1.5
    top = found[-1]
    assert 32 * MIB in (top.swap_limit_bytes, (top.memsw_limit_bytes or 0) - (top.limit_bytes or 0))


@pytest.mark.needs_cpuset
def test_cpuset_is_read_back(there: layout.Layout, path: str) -> None:
    """The effective CPUs are those that were given, and a child's are its parent's."""
    control.create(HOST, there, path, control.Limits(cpuset_cpus="0"))
    control.create(HOST, there, f"{path}/leaf", control.Limits())
    assert Cgroups(HOST, Files()).cpuset(cgroup(there, f"{path}/leaf")) == frozenset({0})


def test_a_bad_limit_leaves_nothing(there: layout.Layout, path: str) -> None:
    """A value the kernel refuses is named in one line, and no directory is left."""
    with pytest.raises(Error, match=r"cpu\.(max|cfs_quota_us)") as caught:
        control.create(HOST, there, path, control.Limits(cpu_quota_usec=1, cpu_period_usec=100_000))
    assert "\n" not in str(caught.value)
    assert control.directories(there, path) == []


def test_a_bad_limit_leaves_what_was_there(there: layout.Layout, path: str) -> None:
    """A cgroup that somebody else has made stays, in whichever hierarchy, when ours can't be made."""
    control.create(HOST, there, path, control.Limits())
    *gone, kept = control.directories(there, path)
    for directory in gone:
        os.rmdir(directory)
    with pytest.raises(Error, match=r"cpu\.(max|cfs_quota_us)"):
        control.create(HOST, there, path, control.Limits(cpu_quota_usec=1, cpu_period_usec=100_000))
    assert control.directories(there, path) == [kept]


def test_kill_all_ends_a_fork_storm(there: layout.Layout, path: str) -> None:
    """Processes that fork on and on are all killed, and the cgroup can be removed."""
    control.create(HOST, there, path, control.Limits(pids_limit=40))
    storm = "import os, sys, time\nsys.stdin.read(1)\nwhile 1:\n  try: os.fork()\n  except OSError: time.sleep(.1)\n"
    child = inside(there, path, storm)
    assert child.stdin is not None
    child.stdin.write(b"go")
    child.stdin.close()
    while control.pids_max_hits(there, path) == 0:
        os.sched_yield()
    assert len(Cgroups(HOST, Files()).pids(cgroup(there, path))) > 10
    os.kill(child.pid, 9)  # ours to reap: a zombie keeps its cgroup busy
    os.waitpid(child.pid, 0)
    child.returncode = -9
    assert control.kill_all(HOST, there, path)
    control.remove(HOST, there, path)
    assert control.directories(there, path) == []


def test_cpu_time_grows(there: layout.Layout, path: str, time_scale: float) -> None:
    """CPU time that a member uses is counted, to user and system."""
    control.create(HOST, there, path, control.Limits())
    busy = "import sys, time\nsys.stdin.read(1)\nwhile time.process_time() < .5: pass\n"
    child = inside(there, path, busy)
    child.communicate(b"go")
    used = Cgroups(HOST, Files()).cpu_time(cgroup(there, path))
    assert used is not None
    # Where the kernel counts in ticks one may be missed; a guest counts as its own what its host does meanwhile.
    assert 400_000 <= used.usage_usec < 1_000_000 * time_scale
    assert used.user_usec > 0


def written(there: layout.Layout, path: str, controller: str, v1: str, v2: str) -> str:
    """Return what a file holds, by the version that has the controller."""
    hierarchy = there.which(controller) or there.which({"blkio": "io"}.get(controller, controller))
    assert hierarchy is not None
    with open(f"{hierarchy.directory(path)}/{(v1, v2)[hierarchy.version - 1]}", encoding="utf-8") as file:
        return file.read().strip()


@pytest.mark.parametrize(
    ("limits", "controller", "v1", "v2"),
    [
        ({"cpu_burst_usec": 5000}, "cpu", ("cpu.cfs_burst_us", "5000"), ("cpu.max.burst", "5000")),
        ({"cpu_shares": 512}, "cpu", ("cpu.shares", "512"), ("cpu.weight", "20")),
        ({"cpu_idle": 1}, "cpu", ("cpu.idle", "1"), ("cpu.idle", "1")),
        ({"cpu_period_usec": 50_000}, "cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "50000 50000")),
        (
            {"memory_reservation_bytes": MIB},
            "memory",
            ("memory.soft_limit_in_bytes", str(MIB)),
            ("memory.low", str(MIB)),
        ),
        ({"swap_total_bytes": -1}, "memory", ("memory.limit_in_bytes", str(16 * MIB)), ("memory.swap.max", "max")),
        ({"pids_limit": -1}, "pids", ("pids.max", "max"), ("pids.max", "max")),
    ],
)
def test_each_limit(
    there: layout.Layout, path: str, limits: dict[str, int], controller: str, v1: tuple[str, str], v2: tuple[str, str]
) -> None:
    """What is set is in the version's own file, converted where that counts otherwise."""
    common = {"memory_bytes": 16 * MIB, "cpu_quota_usec": 50_000, "cpu_period_usec": 100_000}
    control.create(HOST, there, path, control.Limits().replace(**{**common, **limits}))
    hierarchy = there.which(controller)
    assert hierarchy is not None
    file, expected = (v1, v2)[hierarchy.version - 1]
    assert written(there, path, controller, file, file) == expected


def test_limits_are_changed_in_any_order(there: layout.Layout, path: str) -> None:
    """Memory and swap go up and down together, though the kernel never lets one pass the other."""
    for size in (32, 64, 16, 128):
        limits = control.Limits(memory_bytes=size * MIB, swap_total_bytes=2 * size * MIB)
        (control.create if size == 32 else control.update)(HOST, there, path, limits)
        assert written(there, path, "memory", "memory.limit_in_bytes", "memory.max") == str(size * MIB)
        swap = written(there, path, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max")
        assert swap in (str(2 * size * MIB), str(size * MIB))


def test_what_is_in_use_can_be_checked(there: layout.Layout, path: str) -> None:
    """A limit below what is used already is refused if that is to be checked."""
    control.create(HOST, there, path, control.Limits())
    script = "import sys; block = bytearray(20 << 20); print(1, flush=True); sys.stdin.read(1)"
    doors = control.doors(there, path)
    command = [sys.executable, "-IS", "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: control.enter(doors)
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(Error, match=r"memory limit 8388608: [0-9]+ bytes are in use; set a higher one"):
            control.check(there, path, control.Limits(memory_bytes=8 * MIB))
        control.check(there, path, control.Limits(memory_bytes=1 << 30))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"net_classid": 5}, "net_cls"),
        ({"rdma": (("mlx5_0", 1, 2),)}, "rdma"),
        ({"hugetlb": (("3MB", 1),)}, "hugetlb"),
        ({"unified": {"nosuch.max": "1"}}, "nosuch"),
        ({"unified": {"../cgroup.procs": "1"}}, "../cgroup.procs"),
        ({"io_leaf_weight": 100}, "blkio.leaf_weight"),
        ({"cpu_realtime_runtime_usec": 1 << 40}, "cpu.rt_runtime_us"),
    ],
)
def test_what_the_host_lacks_is_named(there: layout.Layout, path: str, limits: dict[str, object], said: str) -> None:
    """A limit without a controller or a file is an error that names it and the remedy, and nothing is left."""
    with pytest.raises(Error) as caught:
        control.create(HOST, there, path, control.Limits().replace(**limits))
    assert said in str(caught.value)
    assert "; " in str(caught.value)
    assert control.directories(there, path) == []


def test_unified_is_written_as_it_is(there: layout.Layout, path: str) -> None:
    """Files of cgroup2's own take what is asked for."""
    control.create(HOST, there, path, control.Limits(unified={"cgroup.max.descendants": "7"}))
    with open(f"{there.hierarchies[''].directory(path)}/cgroup.max.descendants", encoding="utf-8") as file:
        assert file.read() == "7\n"


DEVICES = """
import os, sys
for line in sys.stdin:
    try: os.close(os.open(line.strip(), os.O_RDONLY | os.O_NONBLOCK)); print("yes", flush=True)
    except OSError as error: print(error.errno, flush=True)
"""


def test_devices_are_judged_anew(there: layout.Layout, path: str) -> None:
    """Rules hold for who is inside already when they change; the usual devices are always there."""
    nothing = {"allow": False, "access": "rwm"}
    port = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"}
    cgroups.make(HOST, there, path, control.Limits(), [nothing])
    doors = control.doors(there, path)
    command = [sys.executable, "-IS", "-c", DEVICES]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: control.enter(doors)
    ) as child:
        assert child.stdin is not None and child.stdout is not None

        def tried(device: str) -> str:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(f"{device}\n")
            child.stdin.flush()
            return child.stdout.readline().strip()

        assert (tried("/dev/kmsg"), tried("/dev/null")) == ("1", "yes")
        cgroups.update(HOST, there, path, {"devices": [nothing, port]})
        assert (tried("/dev/kmsg"), tried("/dev/null")) == ("yes", "yes")
        cgroups.update(HOST, there, path, {"pids": {"limit": 50}})
        assert tried("/dev/kmsg") == "yes"
        cgroups.update(HOST, there, path, {"devices": [{"allow": True, "access": "rwm"}]})
        assert tried("/dev/kmsg") == "yes"
        cgroups.update(HOST, there, path, {"devices": [nothing, port, {**port, "allow": False, "access": "r"}]})
        assert (tried("/dev/kmsg"), tried("/dev/null")) == ("1", "yes")

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
    control.remove(HOST, there, name)


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


def test_cpu_time_grows(there: layout.Layout, path: str) -> None:
    """CPU time that a member uses is counted, to user and system."""
    control.create(HOST, there, path, control.Limits())
    busy = "import sys, time\nsys.stdin.read(1)\nwhile time.process_time() < .5: pass\n"
    child = inside(there, path, busy)
    child.communicate(b"go")
    used = Cgroups(HOST, Files()).cpu_time(cgroup(there, path))
    assert used is not None
    assert 400_000 < used.usage_usec < 1_000_000
    assert used.user_usec > 0

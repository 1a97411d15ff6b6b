"""Pressure files: a container's own figures, and triggers that wake whoever polls, whatever dies meanwhile."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.box import BIN, Box, sigkill
from tests.live.test_daemon import workers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone

needs_psi = pytest.mark.needs_psi
IN_HAND = select.POLLPRI | select.POLLERR
STALL = "for i in 1 2 3 4; do while :; do :; done & done; "
"""Four busy loops under a quota wait for their turn nearly all the time."""

POLLER = """
import os, select, sys, time
trigger, seconds, enough = sys.argv[1].encode(), float(sys.argv[2]), int(sys.argv[3])
fd = os.open('/proc/pressure/cpu', os.O_RDWR)
os.write(fd, trigger)
poll = select.poll()
poll.register(fd, select.POLLPRI)
print('polling', flush=True)
until, events, errors, calls = time.monotonic() + seconds, 0, 0, 0
while events < enough and (left := until - time.monotonic()) > 0:
    for _fd, found in poll.poll(left * 1000):
        events += found == select.POLLPRI
        errors += found != select.POLLPRI
    calls += 1
print(events, errors, calls)
"""

ASK = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    print(os.write(fd, sys.argv[2].encode()))
except OSError as error:
    print(error.errno)
"""


def source(name: str, resource: str = "cpu") -> Path:
    """Return the kernel's file of a container's cgroup."""
    hybrid = Path("/sys/fs/cgroup/unified")
    return (hybrid if hybrid.is_dir() else hybrid.parent) / f"pyproc/{name}/{resource}.pressure"


def held(box: Box) -> int:
    """Return how many pressure files the daemon itself has open for triggers."""
    assert box.served is not None
    found = 0
    for entry in Path(f"/proc/{box.served.pid}/fd").iterdir():
        try:
            found += os.readlink(entry).partition(" ")[0].endswith(".pressure")
        except OSError:
            continue
    return found


def parent(pid: int) -> int:
    """Return a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def until(true: object, seconds: float) -> bool:
    """Wait until a function says so; say whether it did in time."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def poller(box: Box, name: str, trigger: str, seconds: float, enough: int = 1 << 30) -> subprocess.Popen[str]:
    """Start what polls in a container for so long or until so many events; wait until it has set its trigger."""
    program = ["python3", "-c", POLLER, trigger, str(seconds), str(enough)]
    child = subprocess.Popen(
        [BIN / "pyproc", "exec", *box.places, name, "--", *program],
        env=box.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "polling\n"
    return child


def counted(child: subprocess.Popen[str], seconds: float) -> tuple[int, int, int]:
    """Return a poller's events, errors and calls."""
    output, _ = child.communicate(timeout=seconds)
    events, errors, calls = map(int, output.split())
    return events, errors, calls


@pytest.fixture
def opened(clean: Box) -> Iterator[tuple[Box, str, int]]:
    """Yield a container and a descriptor of its cpu pressure with a trigger, held outside of it."""
    name = clean.start("--cpus", "0.2", "--", "sleep", "1000")
    descriptor = os.open(clean.mountpoint / f"containers/{name}/proc/pressure/cpu", os.O_RDWR)
    try:
        os.write(descriptor, b"some 20000 2000000\0")
        yield clean, name, descriptor
    finally:
        os.close(descriptor)
        clean.pyproc("delete", "--force", name)


@needs_psi
def test_a_stall_wakes_its_own_container_only(clean: Box) -> None:
    """A container that stalls gets POLLPRI once a window; an idle one beside it sleeps through."""
    idle = clean.start("--", "sleep", "1000")  # the interpreter that polls would stall itself under a quota
    busy = clean.start("--cpus", "0.2", "--", "sleep", "1000")
    sleeper = poller(clean, idle, "some 400000 2000000", 9 * clean.scale**0.5)
    waker = poller(clean, busy, "some 400000 2000000", 9 * clean.scale**0.5)
    load = clean.pyproc("exec", busy, "--", "sh", "-c", f"({STALL}) >/dev/null 2>&1")
    assert load.returncode == 0
    events, errors, calls = counted(waker, 120 * clean.scale)
    assert (events >= 2, errors) == (True, 0)
    assert events <= 9 * clean.scale**0.5 / 2 + 1
    assert calls <= events + 1
    assert counted(sleeper, 120 * clean.scale) == (0, 0, 1)
    assert until(lambda: held(clean) == 0, 10 * clean.scale)
    for name in (idle, busy):
        clean.pyproc("delete", "--force", name)


@pytest.mark.anywhere
@needs_psi
@pytest.mark.parametrize("relay", ["0", "1"])
def test_workers_killed_while_a_process_polls(tmp_path: Path, time_scale: float, lane: str, relay: str) -> None:
    """Workers that die between a trigger and its event, and again and again under a poller, cost no wake-up.

    On kernels before 6.9, or when told to serve as there, a poll that was under way says POLLERR once.
    """
    box = Box(tmp_path, time_scale)
    daemon = box.start_daemon(LXCFS_PY_RELAY=relay)
    resends = relay == "0" and lane != "uml"
    seconds = 13 if lane == "here" else 40
    try:
        name = box.start("--cpus", "0.2", "--", "sleep", "1000")
        child = poller(box, name, "some 200000 2000000", seconds)
        first = workers(daemon)
        assert first
        sigkill(parent(first[0]))  # the template, and all workers with it
        box.pyproc("exec", name, "--", "sh", "-c", f"({STALL}) >/dev/null 2>&1")
        kills, end = len(first), time.monotonic() + seconds - 2
        while time.monotonic() < end:
            time.sleep(0.2 * box.scale)
            if pids := workers(daemon):
                sigkill(pids[kills % len(pids)])
                kills += 1
        events, errors, _calls = counted(child, 60 * box.scale)
        assert events >= (seconds - 4) // 4, (events, errors, kills)
        assert errors <= (0 if resends else kills), (events, errors, kills)
        assert until(lambda: held(box) == 0, 10 * box.scale)
    finally:
        box.close()


@needs_psi
def test_who_may(opened: tuple[Box, str, int]) -> None:
    """A window of 1 s is refused to a container; who is outside gets the kernel's own answer, root in a user
    namespace does not count as privileged.
    """
    box, name, _ = opened
    served = str(box.mountpoint / f"containers/{name}/proc/pressure/cpu")
    refused = f"{errno.EINVAL}\n"
    inside = box.pyproc("exec", name, "--", "python3", "-c", ASK, "/proc/pressure/cpu", "some 100000 1000000")
    assert inside.stdout == refused
    ours, kernels = (
        subprocess.run([sys.executable, "-c", ASK, at, "some 100000 1000000"], capture_output=True, text=True).stdout
        for at in (served, str(source(name)))
    )
    assert ours == kernels
    spaced = ["unshare", "-U", "-r", sys.executable, "-c", ASK, served, "some 100000 1000000"]
    assert subprocess.run(spaced, capture_output=True, text=True).stdout == refused
    spaced[-1] = "some 100000 2000000"
    assert subprocess.run(spaced, capture_output=True, text=True).stdout == f"{len(spaced[-1])}\n"


@needs_psi
def test_one_trigger_a_file_and_a_share_a_container(opened: tuple[Box, str, int]) -> None:
    """A second write is EBUSY, nonsense EINVAL, the 65th trigger of a container EMFILE; closing frees them."""
    box, name, descriptor = opened
    with pytest.raises(OSError, match="busy"):
        os.write(descriptor, b"some 20000 2000000\0")
    path, more = box.mountpoint / f"containers/{name}/proc/pressure/memory", []
    try:
        for number in range(64):
            more.append(os.open(path, os.O_RDWR))
            if number < 63:
                os.write(more[-1], b"some 20000 2000000\0")
        with pytest.raises(OSError, match="Too many open files"):
            os.write(more[-1], b"some 20000 2000000\0")
        with pytest.raises(OSError, match="Invalid argument"):
            os.write(more[-1], b"some 20000")
        assert held(box) == 64
    finally:
        for each in more:
            os.close(each)
    assert until(lambda: held(box) == 1, 10 * box.scale)


@needs_psi
def test_a_cgroup_that_goes(opened: tuple[Box, str, int]) -> None:
    """When its cgroup goes, a poller is told POLLERR, the daemon lets go of it, and does not turn in circles."""
    box, name, descriptor = opened
    assert box.served is not None
    poll = select.poll()
    poll.register(descriptor, select.POLLPRI)
    assert poll.poll(0) == []
    box.pyproc("delete", "--force", name)
    found = poll.poll(20_000 * box.scale)
    assert [events & IN_HAND for _, events in found] == [IN_HAND]
    assert until(lambda: held(box) == 0, 10 * box.scale)
    clock = _clock(box.served.pid)
    before = time.clock_gettime(clock)
    time.sleep(2)
    assert time.clock_gettime(clock) - before < 0.2 * box.scale


def _clock(pid: int) -> int:
    """Return the number of a process's CPU clock (MAKE_PROCESS_CPUCLOCK in linux/posix-timers.h)."""
    return ~pid << 3 | 2


@needs_psi
def test_other_files_are_as_they_were(opened: tuple[Box, str, int]) -> None:
    """Other served files can always be read, as poll says, and not be opened for writing; a pressure file that was
    opened for reading has no trigger.
    """
    box, name, _ = opened
    base = box.mountpoint / f"containers/{name}/proc"
    ready = select.POLLIN | select.POLLOUT
    for path, expected in ((base / "meminfo", ready), (base / "pressure/cpu", ready | IN_HAND)):
        with path.open("rb") as file:
            poll = select.poll()
            poll.register(file, select.POLLIN | select.POLLOUT | select.POLLPRI)
            assert [events for _, events in poll.poll(0)] == [expected]
    with pytest.raises(PermissionError):
        os.open(base / "meminfo", os.O_RDWR)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(os.open(base / "pressure/cpu", os.O_RDONLY), b"some 20000 2000000\0")

"""Workers that run out of something: who reads notices nothing of it."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.daemon.supervisor import possible_cpus
from lxcfs_py.fuse import protocol
from lxcfs_py.host import Host
from lxcfs_py.shared import Shared
from tests.live.apart import Apart
from tests.live.box import BIN, Box, sigkill
from tests.live.test_daemon import READER, RELAYS, workers

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = ("-m", "64m", "--memory-swap", "64m")


def readers(box: Box, names: list[str], seconds: float) -> list[subprocess.Popen[bytes]]:
    """Begin a reader in each of these containers."""
    return [
        subprocess.Popen(
            [BIN / "pyproc", "exec", *box.places, name, "--", "python3", "-c", READER, str(seconds)],
            stdout=subprocess.PIPE,
            env=box.environment,
        )
        for name in names
    ]


def results(box: Box, reading: list[subprocess.Popen[bytes]]) -> list[tuple[int, ...]]:
    """Return what each has read: how often, and how often it was wrong, and failed."""
    return [tuple(map(int, each.communicate(timeout=60 * box.scale)[0].split())) for each in reading]


@pytest.mark.anywhere
def test_few_descriptors(own: Box) -> None:
    """Where a process may have 128 descriptors, more containers than that is enough for are all served rightly."""
    own.enter = ("prlimit", "--nofile=128:128")
    own.start_daemon("--workers", "1")
    own.enter = ()
    names = [own.start(*LIMITS, "--", "sleep", "1000") for _ in range(8)]
    reading = readers(own, names, 2 * own.scale)
    assert all(count > 10 and (bad, eio) == (0, 0) for count, bad, eio in results(own, reading)), own.log.read_text()


class Narrow:
    """A cgroup with next to no memory: who enters is killed when it needs some."""

    def __init__(self) -> None:
        v1 = Path("/sys/fs/cgroup/memory")
        self._v1 = v1.is_dir()
        self.path = (v1 if self._v1 else v1.parent) / f"lxcfs-py-{os.urandom(4).hex()}"
        self.path.mkdir()
        (self.path / ("memory.limit_in_bytes" if self._v1 else "memory.max")).write_text(str(128 << 10))

    def enter(self, pid: int) -> None:
        """Put a process there."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """Return how many were killed."""
        text = (self.path / ("memory.oom_control" if self._v1 else "memory.events")).read_text()
        return int(dict(line.split() for line in text.splitlines())["oom_kill"])

    def close(self) -> None:
        """Remove it."""
        for word in (self.path / "cgroup.procs").read_text().split():
            sigkill(int(word))
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):  # who was killed has not ended
                self.path.rmdir()
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def narrow() -> Iterator[Narrow]:
    """Yield one."""
    found = Narrow()
    yield found
    found.close()


@pytest.mark.anywhere
@pytest.mark.parametrize("how", ["refused", "killed"])
def test_no_memory(tmp_path: Path, time_scale: float, lane: str, how: str, narrow: Narrow) -> None:
    """A worker that gets no more memory, or is killed for want of it in its cgroup, is replaced; what it was asked
    is asked again, or fails before 6.9.
    """
    own = Apart(tmp_path, time_scale)
    try:
        text = Path("/proc/cpuinfo").read_bytes()
        own.cover("/proc/cpuinfo", text * (300_000 // len(text) + 1))  # more than fits into what it has
        daemon = own.start_daemon()
        name = own.start(*LIMITS, "--", "sleep", "1000")
        seconds = 4 * own.scale
        command = [
            *own.enter,
            str(BIN / "pyproc"),
            "exec",
            *own.places,
            name,
            "--",
            "python3",
            "-c",
            READER,
            str(seconds),
        ]
        reading = [subprocess.Popen(command, stdout=subprocess.PIPE, env=own.environment) for _ in range(8)]
        starved: set[int] = set()
        failed, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            for pid in {*workers(daemon)} - starved:
                with contextlib.suppress(ProcessLookupError):
                    if how == "killed":
                        narrow.enter(pid)
                    else:
                        resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))  # what it has it keeps
                    starved.add(pid)
            try:
                assert (own.inside / str(own.mountpoint)[1:] / "proc/cpuinfo").read_bytes().startswith(b"processor")
            except OSError:
                failed += 1
        found = results(own, reading)
        assert all(count > 10 and bad == 0 for count, bad, _ in found), found
        assert failed + sum(eio for *_, eio in found) <= (0 if lane != "uml" else len(starved)), (failed, found)
        assert len(starved) > len(os.sched_getaffinity(0)), own.log.read_text()
        assert bool(narrow.kills()) == (how == "killed")
    finally:
        own.close()


def askers(daemon: subprocess.Popen[bytes]) -> list[int]:
    """Return the shell by which the daemon asks itself now and then whether it answers."""
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    return [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "sh\n"]


@pytest.mark.parametrize("relay", RELAYS)
def test_no_open_file_is_lost(own: Box, relay: str) -> None:
    """However often workers are killed while files are opened, once all are closed no slot for one is in use."""
    daemon = own.start_daemon(LXCFS_PY_RELAY=relay)
    name = own.start(*LIMITS, "--", "sleep", "1000")
    seconds = 3 * own.scale
    reading = readers(own, [name] * 8, seconds)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.05 * own.scale)
        for pid in workers(daemon):
            sigkill(pid)
    results(own, reading)
    at = f"/proc/{daemon.pid}/fd"
    memory = next(f"{at}/{fd}" for fd in os.listdir(at) if "/memfd:lxcfs-py-memory" in os.readlink(f"{at}/{fd}"))
    descriptor = os.open(memory, os.O_RDWR | os.O_CLOEXEC)
    try:
        count = min(4, len(os.sched_getaffinity(0)))
        shared = Shared(descriptor, 2 * count, possible_cpus(Host()), protocol.REQUEST_BYTES)
        deadline = time.monotonic() + 20 * own.scale
        while shared.taken():  # what is doubted comes back when the next worker dies
            assert time.monotonic() < deadline, shared.taken()
            for pid in [*workers(daemon)[:1], *askers(daemon)]:  # whose open file is doubted as long as it lives
                sigkill(pid)
            time.sleep(0.3 * own.scale)
    finally:
        os.close(descriptor)

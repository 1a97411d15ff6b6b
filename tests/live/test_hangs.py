"""A worker that hangs at a request, or can't even be killed, is replaced: who reads waits for a moment."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.apart import Apart
from tests.live.box import BIN, Box
from tests.live.test_daemon import RELAYS, workers
from tests.live.test_keeper import BOUND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.alone

READER = """
import sys, time
until, failed, worst = time.monotonic() + float(sys.argv[1]), 0, 0.0
while (start := time.monotonic()) < until:
    try:
        open('/proc/uptime').read()
    except OSError:
        failed += 1
    worst = max(worst, time.monotonic() - start)
    time.sleep(0.001)
print(failed, worst)
"""


@pytest.fixture
def apart(tmp_path: Path, time_scale: float) -> Iterator[Apart]:
    """Yield a box with a mount namespace of its own, without a daemon yet."""
    found = Apart(tmp_path, time_scale)
    yield found
    found.close()


def inside(box: Box, name: str, *command: str) -> subprocess.Popen[str]:
    """Begin a command in a container."""
    return subprocess.Popen(
        [*box.enter, BIN / "pyproc", "exec", *box.places, name, "--", *command],
        env=box.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(box: Box, text: str) -> None:
    """Wait until the log says something."""
    deadline = time.monotonic() + 20 * box.scale
    while text not in box.log.read_text():
        assert time.monotonic() < deadline, box.log.read_text()
        time.sleep(0.02)


@pytest.mark.anywhere
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("relay", RELAYS)
def test_a_kernel_file_that_hangs(apart: Apart, relay: str, count: int) -> None:
    """Where a file of the kernel's never answers, who reads what is made of it has an error after a moment, also
    where the kernel asks again; who reads another file waits for it no longer than that, and fails never.
    """
    apart.start_daemon("--workers", str(count), LXCFS_PY_RELAY=relay)
    fifo = apart.base / "fifo"
    os.mkfifo(fifo)
    apart.do("mount", "--bind", fifo, "/proc/diskstats")
    name = apart.start("-m", "64m", "--proc-view", "require", "--", "sleep", "1000")
    other = inside(apart, name, "python3", "-c", READER, str(4 * apart.scale))
    began = time.monotonic()
    hanging = inside(apart, name, "cat", "/proc/diskstats")
    _, said = hanging.communicate(timeout=30 * apart.scale)
    took = time.monotonic() - began
    failed, worst = map(float, other.communicate(timeout=30 * apart.scale)[0].split())
    print(took, failed, worst)
    assert "Input/output error" in said
    assert failed == 0
    assert max(took - 0.5, worst) < BOUND_SECONDS * apart.scale
    assert "hangs at a request" in apart.log.read_text()


@pytest.fixture
def frozen() -> Iterator[Path]:
    """Yield a frozen cgroup: who enters it is held by the kernel, SIGKILL or not (v1; v2's lets it die)."""
    found = Path(f"/sys/fs/cgroup/freezer/lxcfs-py-{os.urandom(4).hex()}")
    found.mkdir()
    (found / "freezer.state").write_text("FROZEN")
    yield found
    (found / "freezer.state").write_text("THAWED")
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError):  # who was killed has not ended
            found.rmdir()
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.needs_hybrid
@pytest.mark.parametrize("relay", RELAYS)
def test_a_worker_that_cannot_be_killed(frozen: Path, tmp_path: Path, time_scale: float, relay: str) -> None:
    """Where the kernel lets a worker not even die, others take its place and that of those with it."""
    box = Box(tmp_path, time_scale)
    try:
        daemon = box.start_daemon("--workers", "2", LXCFS_PY_RELAY=relay)
        name = box.start("-m", "64m", "--proc-view", "require", "--", "sleep", "1000")
        before = workers(daemon)
        reading = [inside(box, name, "python3", "-c", READER, "6") for _ in range(3)]
        time.sleep(0.5)
        (frozen / "cgroup.procs").write_text(str(before[0]))
        until(box, f"process {before[0]} does not die: its template is killed")
        found = [list(map(float, each.communicate(timeout=60 * box.scale)[0].split())) for each in reading]
        print(found)
        assert sum(failed for failed, _ in found) <= (relay == "1") * 2, found
        assert max(worst for _, worst in found) < 3 * BOUND_SECONDS * box.scale, found
        now = workers(daemon)
        assert len(now) == 2
        assert not set(now) & set(before)
    finally:
        (frozen / "freezer.state").write_text("THAWED")
        box.close()

"""Containers that mean harm: the others read on, and the daemon gets back all that was taken."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import registry
from lxcfs_py.container import start_ticks
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from tests.attacks import OPTIONS, PROGRAMS, VICTIM
from tests.live.box import BIN
from tests.usage import Usage, usage

if TYPE_CHECKING:
    from tests.live.box import Box


SECONDS = 0.7


def inside(box: Box, name: str, program: str, *arguments: str) -> subprocess.Popen[str]:
    """Begin a python program in a container."""
    command = [str(BIN / "pyproc"), "exec", *box.places, name, "--", "python3", "-c", program, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=box.environment, stdout=pipe, stderr=pipe, text=True)


def ended(process: subprocess.Popen[str], scale: float) -> list[str]:
    """Return the words a program printed; it must have ended well."""
    out, err = process.communicate(timeout=60 * scale)
    assert process.returncode == 0, err
    return out.split()


def settled(box: Box, before: Usage, tables_bytes: int = 4 << 20) -> None:
    """Wait until the daemon has given back what it took, but for tables that are never smaller again."""
    assert box.served is not None
    deadline = time.monotonic() + 10 * box.scale
    while True:
        now = usage(box.served.pid)
        if (
            now.pss_bytes < before.pss_bytes + (12 << 20)
            and now.shared_bytes < before.shared_bytes + tables_bytes
            and now.descriptors < before.descriptors + 200
        ):
            return
        assert time.monotonic() < deadline, (str(before), str(now))
        time.sleep(0.1)


@pytest.fixture(scope="module")
def pair(box: Box) -> tuple[str, str]:
    """Return the attacker and the other."""
    whole = f"-v{box.mountpoint}:/lxcfs"
    return box.start(*OPTIONS, whole, "--", "sleep", "1000"), box.start("-m", "64m", "--", "sleep", "1000")


@pytest.mark.parametrize("attack", PROGRAMS)
def test_attacks(box: Box, pair: tuple[str, str], attack: str) -> None:
    """Whatever a container does is answered as it should be, another's reads are right, and all is given back."""
    assert box.served is not None
    attacker, other = pair
    seconds = str(SECONDS * box.scale)
    before = usage(box.served.pid)
    attacking = inside(box, attacker, PROGRAMS[attack], seconds)
    reads, bad, *_ = map(int, ended(inside(box, other, VICTIM, seconds, "65536"), box.scale))
    ended(attacking, box.scale)
    assert reads >= 5
    assert bad == 0
    settled(box, before)
    assert box.served.poll() is None


def test_one_opens_all_it_can(box: Box, pair: tuple[str, str]) -> None:
    """A container that opens files without end gets EMFILE at its share; the other opens a hundred at once."""
    hold = "files = [open('/proc/stat') for _ in range(100)]; print(sum(bool(file.read(1)) for file in files))"
    greedy = inside(box, pair[0], PROGRAMS["opens"], str(4 * box.scale))
    time.sleep(2 * box.scale)
    assert ended(inside(box, pair[1], hold), box.scale) == ["100"]
    held = int(ended(greedy, box.scale)[0])
    assert 1000 <= held <= 1024 * 4
    lines = [line for line in box.log.read_text().splitlines() if "too many open files" in line]
    assert lines
    assert all(f"{pair[0]}@" in line or "pid:[" in line for line in lines), lines


def test_frozen_and_killed_for_memory(box: Box, pair: tuple[str, str]) -> None:
    """Containers frozen in the midst of their reads, or killed there for their memory, hold nobody up."""
    frozen = box.start("-m", "64m", "--", "python3", "-c", PROGRAMS["readers"], "1000")
    grow = "held = [(bytearray(1 << 20), open('/proc/stat').read(1)) for _ in iter(int, 1)]"
    limits = ("-m", "48m", "--memory-swap", "48m")
    killed = subprocess.Popen(box.command("--rm", *limits, "--", "python3", "-c", grow), env=box.environment)
    time.sleep(0.3 * box.scale)
    freeze = next(Path("/sys/fs/cgroup").glob(f"**/pyproc/{frozen}/cgroup.freeze"))
    freeze.write_text("1")
    reads, bad, *_ = map(int, ended(inside(box, pair[1], VICTIM, str(box.scale), "65536"), box.scale))
    assert (reads >= 5, bad) == (True, 0)
    assert killed.wait(60 * box.scale) == 137
    freeze.write_text("0")
    box.pyproc("delete", "--force", frozen)


@pytest.mark.anywhere
def test_containers_come_and_go(box: Box) -> None:
    """Containers that come and go by the hundred, also under one name, are each served as they are, and forgotten."""
    assert box.served is not None
    host, files = Host(run=str(box.base / "run")), Files(1)
    before = usage(box.served.pid)
    for turn in range(300):
        id_ = f"new-{turn}" if turn % 2 else "same"
        init = subprocess.Popen(["sleep", "1000"])
        try:
            ticks = start_ticks(host, files, init.pid)
            assert ticks is not None
            offset_nsec = -(turn + 1) * 1_000_000_000
            registry.register(host, registry.Registration(id_, init.pid, ticks, {}, offset_nsec))
            at = box.mountpoint / f"containers/{id_}/proc"
            up = time.clock_gettime(time.CLOCK_BOOTTIME) + offset_nsec / 1e9
            for _ in range(2):
                assert abs(float((at / "uptime").read_text().split()[0]) - max(0.0, up)) < 10 * box.scale
            assert (at / "stat").read_text().startswith("cpu ")
        finally:
            init.kill()
            init.wait()
        with pytest.raises(OSError, match=r"Stale|No such"):
            (at / "uptime").read_text()
        registry.unregister(host, id_, init.pid, ticks)
    settled(box, before, 20 << 20)


@pytest.mark.anywhere
def test_nothing_is_logged_twice(box: Box, pair: tuple[str, str]) -> None:
    """After all that the log is a few lines, none of them twice."""
    lines = [re.sub(r" \(pid \d+\)$|pid:\[\d+\]\S*", "", line) for line in box.log.read_text().splitlines()]
    assert len(lines) < 50, lines
    box.pyproc("delete", "--force", *pair)

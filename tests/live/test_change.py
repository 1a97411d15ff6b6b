"""The files stay true while limits, CPUs, swap and cgroups change under them."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

MIB = 1 << 20
CGROUPS = Path("/sys/fs/cgroup")
WATCH = """
import os, re, sys, time
until, last, reads = time.monotonic() + float(sys.argv[1]), {}, 0
while time.monotonic() < until or reads < 20:
    reads += 1
    info = {k: int(v) for k, v in re.findall(r'(\\S+): +(-?\\d+)', open('/proc/meminfo').read())}
    total, swap = info['MemTotal'], info['SwapTotal']
    wrong = [k for k, v in info.items() if v < 0]
    ours = 'MemFree MemAvailable Cached Active Inactive AnonPages Mapped Shmem Slab KernelStack PageTables Percpu'
    wrong += [k for k in ours.split() if info[k] > total]
    wrong += [k for k in ('SwapFree', 'SwapCached') if info[k] > swap]
    assert not wrong, (wrong, info)
    rows = {r.split()[0]: list(map(int, r.split()[1:])) for r in open('/proc/stat') if r.startswith('cpu')}
    assert list(rows)[1:] == [f'cpu{n}' for n in range(len(rows) - 1)], rows
    for at, row in rows.items():
        assert min(row) >= 0, rows
        assert all(b >= a for a, b in zip(last.get(at, row), row)), (at, last[at], row)
    last.update(rows)
    every = [sum(column) for column in zip(*(row for at, row in last.items() if at[3:].isdigit()))]
    more = [b - a for a, b in zip(every, rows['cpu'])]
    assert min(more) >= -len(last), (last, rows)
    if last.keys() - {'up', 'idle'} == rows.keys():  # else one was hidden, and went on after it was last seen
        assert max(more) <= len(last), (last, rows)
    up, idle = map(float, open('/proc/uptime').read().split())
    assert 0 <= up >= last.get('up', 0) and idle >= last.get('idle', 0), (up, idle, last)
    last['up'], last['idle'] = up, idle
    numbers = re.findall(r'^processor\\s*: (\\d+)$', open('/proc/cpuinfo').read(), re.M)
    assert numbers == [str(n) for n in range(len(numbers))] and numbers, numbers
    if os.fork() == 0:
        os._exit(len(bytes(8 << 20)) & 1)
    os.wait()
print('ok', reads)
"""


def files(name: str, v1: str, v2: str) -> Path:
    """Return a file of a container's cgroup, by what it is called on v1 (CONTROLLER/FILE) and on v2."""
    controller, _, file = v1.partition("/")
    found = CGROUPS / controller / "pyproc" / name / file
    return found if found.exists() else CGROUPS / "pyproc" / name / v2


def write(path: Path, text: str) -> bool:
    """Write to a kernel file; say whether it took it (a limit below what is used is refused for a moment)."""
    try:
        path.write_text(text)
    except OSError:
        return False
    return True


def watched(box: Box, seconds: float, changes: Iterator[tuple[Path, str]], name: str) -> int:
    """Change things while a container watches its files; return how often they changed."""
    done, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        done += write(*next(changes))
        time.sleep(0.01 * box.scale)
    deadline = time.monotonic() + 60 * box.scale
    while "running" in box.pyproc("state", name).stdout and time.monotonic() < deadline:
        time.sleep(0.2)
    log = box.pyproc("logs", name).stdout
    box.pyproc("delete", "--force", name)
    assert log.startswith("ok"), log
    return done


def test_limits_that_change(clean: Box, lane: str) -> None:
    """While memory, swap and quota rise and fall: nothing negative, nothing above its total, no step back."""
    seconds = 4.0 * max(1, clean.scale / 3)
    name = clean.start("-m", "64m", "--memory-swap", "-1", "--cpus", "1", "--", "python3", "-c", WATCH, str(seconds))
    memory = files(name, "memory/memory.limit_in_bytes", "memory.max")
    quota = files(name, "cpu/cpu.cfs_quota_us", "cpu.max")
    changes = [(memory, str(size * MIB)) for size in (96, 200, 72)]
    changes += [(quota, str(each)) for each in (50_000, 200_000, 150_000)]
    assert watched(clean, seconds, itertools.cycle(changes), name) > 10


@pytest.mark.needs_cpus(2)
@pytest.mark.needs_cpuset
def test_cpusets_that_shrink(clean: Box) -> None:
    """While its cpuset grows and shrinks a container's CPUs are counted from 0, and none runs backwards."""
    seconds = 3.0 * max(1, clean.scale / 3)
    name = clean.start("--cpuset-cpus", "0-1", "--", "python3", "-c", WATCH, str(seconds))
    cpus = files(name, "cpuset/cpuset.cpus", "cpuset.cpus")
    changes = itertools.cycle([(cpus, "0"), (cpus, "0-1"), (cpus, "1")])
    assert watched(clean, seconds, changes, name) > 10


def test_swap_that_comes_and_goes(clean: Box, tmp_path: Path, lane: str) -> None:
    """SwapTotal follows the host's swap, within the limit, and never leaves SwapFree above it."""
    area = {"qemu": "/dev/vda", "uml": "/dev/ubda"}.get(lane, str(tmp_path / "swap"))
    if lane == "here":
        subprocess.run(["dd", "if=/dev/zero", f"of={area}", "bs=1M", "count=64"], check=True, capture_output=True)
        os.chmod(area, 0o600)
        subprocess.run(["mkswap", area], check=True, capture_output=True)
    name = clean.start("-m", "64m", "--memory-swap", "80m", "--", "sleep", "1000")

    def swap() -> list[int]:
        text = clean.pyproc("exec", name, "--", "grep", "-E", "SwapTotal|SwapFree", "/proc/meminfo").stdout
        return [int(line.split()[1]) for line in text.splitlines()]

    try:
        before = swap()
        toggle = ("swapon", "swapoff") if lane == "here" else ("swapoff", "swapon")
        subprocess.run([toggle[0], area], check=True)
        try:
            changed = swap()
        finally:
            subprocess.run([toggle[1], area], check=True)
        assert sorted((before, changed)) == [[0, 0], [16384, 16384]]
        assert swap() == before
    finally:
        clean.pyproc("delete", "--force", name)


def test_tasks_that_move(clean: Box) -> None:
    """A container whose processes move into cgroups below its own, as systemd moves them, keeps its limits."""
    name = clean.start("-m", "64m", "--", "sleep", "1000")
    below = files(name, "memory/cgroup.procs", "cgroup.procs").parent / "below"
    below.mkdir()
    try:
        pid = clean.pyproc("state", name).stdout.partition('"pid": ')[2].partition(",")[0]
        (below / "cgroup.procs").write_text(pid)
        text = clean.pyproc("exec", name, "--", "grep", "MemTotal", "/proc/meminfo").stdout
    finally:
        clean.pyproc("delete", "--force", name)
    assert text.split()[1] == "65536"


def test_the_first_reading(clean: Box) -> None:
    """The very first reading covers the container's life: busy and idle sum to its CPUs times its uptime."""
    script = "read up idle </proc/uptime; head -1 /proc/stat; echo $up $idle; head -1 /proc/stat; cat /proc/uptime"
    lines = clean.run("--rm", "--cpus", "1", "--", "sh", "-c", script).stdout.splitlines()
    for uptime, stat in ((lines[1], lines[0]), (lines[3], lines[2])):
        ticks, (up, idle) = sum(map(int, stat.split()[1:])), map(float, uptime.split())
        assert 0 < up < 30 * clean.scale
        assert 0 <= idle <= up + 0.02
        assert ticks / 100 == pytest.approx(up, abs=0.15 * clean.scale)

"""What a container is told about itself, by files and by programs."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.box import Box

pytestmark = pytest.mark.alone

MIB = 1 << 20
TOUCH = """
import re
def info():
    return {k: int(v) << 10 for k, v in re.findall(r'(\\w+): +(\\d+) kB', open('/proc/meminfo').read())}
"""


def host_meminfo(name: str) -> int:
    """Return a line of the host's meminfo in bytes."""
    found = re.search(rf"^{name}: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    assert found
    return int(found[1]) << 10


def test_memory_limit(clean: Box) -> None:
    """`free` says the limit."""
    text = clean.run("--rm", "-m", "256m", "--cpus", "1", "--", "free", "-m").stdout
    assert re.search(r"Mem: +256 ", text)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--cpus", "1"), 1),
        pytest.param(("--cpuset-cpus", "0"), 1, marks=pytest.mark.needs_cpuset),
        pytest.param(("--cpus", "1.5"), 2, marks=pytest.mark.needs_cpus(2)),
        ((), os.cpu_count()),
    ],
)
def test_cpus(clean: Box, options: tuple[str, ...], count: int) -> None:
    """cpuinfo, stat and online agree on the CPUs the limits leave."""
    script = "grep -c ^processor /proc/cpuinfo; grep -c ^cpu[0-9] /proc/stat; cat /sys/devices/system/cpu/online"
    lines = clean.run("--rm", *options, "--", "sh", "-c", script).stdout.split()
    assert lines == [str(count), str(count), "0" if count == 1 else f"0-{count - 1}"]


def test_no_limits(clean: Box) -> None:
    """Without limits MemTotal is the host's."""
    text = clean.run("--rm", "--", "grep", "MemTotal", "/proc/meminfo").stdout
    assert int(text.split()[1]) << 10 == host_meminfo("MemTotal")


def test_touched_memory(clean: Box) -> None:
    """Touching 100 MiB lowers MemFree and MemAvailable by as much."""
    script = TOUCH + "a = info(); x = bytearray(b'x') * (100 << 20); b = info()\n"
    script += "print(a['MemFree'] - b['MemFree'], a['MemAvailable'] - b['MemAvailable'])"
    for used in clean.run("--rm", "-m", "256m", "--", "python3", "-c", script).stdout.split():
        assert int(used) == pytest.approx(100 * MIB, rel=0.05)


def test_out_of_memory(clean: Box) -> None:
    """Going over the limit gives 137 and a message; a plain SIGKILL 137 without it."""
    greedy = "x = bytearray(b'x') * (100 << 20)"
    over = clean.run("--rm", "-m", "32m", "--memory-swap", "32m", "--", "python3", "-c", greedy, check=False)
    assert (over.returncode, "memory limit" in over.stderr) == (137, True), over.stderr
    name = clean.start("-m", "32m", "--", "sleep", "100")
    clean.pyproc("kill", name, "KILL")
    clean.pyproc("delete", "--force", name)
    plain = clean.run("--rm", "--init", "--", "sh", "-c", "kill -9 $$", check=False)
    assert (plain.returncode, "memory limit" in plain.stderr) == (137, False), plain.stderr


def busy(box: Box, options: tuple[str, ...], loops: int, seconds: float) -> tuple[float, float, float, list[float]]:
    """Return the CPUs used by stat's two readings, by the cgroup at least and at most, and each CPU's busy share."""
    script = f"""
import glob, os, time
def ticks():
    rows = [l.split() for l in open('/proc/stat') if l.startswith('cpu')]
    return [(sum(map(int, r[1:4])), sum(map(int, r[1:9]))) for r in rows]
def used():
    for f in ('/sys/fs/cgroup/cpuacct/cpuacct.usage', '/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage'):
        if os.path.exists(f): return int(open(f).read()) / 1e9
    return int(open('/sys/fs/cgroup/cpu.stat').read().split()[1]) / 1e6
for _ in range({loops}):
    if os.fork() == 0:
        while 1: pass
time.sleep(.5)
def both():
    return used(), ticks(), used(), time.monotonic()
first, a, second, began = both()
time.sleep({seconds})
third, b, fourth, ended = both()
print(*(used / (ended - began) for used in ((b[0][0] - a[0][0]) / 100, third - second, fourth - first)))
print(*((y[0] - x[0]) / max(1, y[1] - x[1]) for x, y in zip(a[1:], b[1:])))
"""
    lines = box.run("--rm", *options, "--", "python3", "-c", script).stdout.splitlines()
    stat, least, most = map(float, lines[0].split())
    return stat, least, most, [float(word) for word in lines[1].split()]


def test_half_a_cpu(clean: Box) -> None:
    """A busy loop with half a CPU: stat says what the cgroup says, about 50 % of one CPU."""
    stat, least, most, cpus = busy(clean, ("--cpus", "0.5"), 1, 3)
    assert 0.95 * least <= stat <= 1.05 * most
    assert 0.1 < stat < 0.6  # a busy machine may give it less than it may have
    assert len(cpus) == 1


@pytest.mark.needs_cpus(2)
def test_one_and_a_half_cpus(clean: Box) -> None:
    """Two busy loops with one and a half: about 150 % of two, none above 100 %."""
    stat, least, most, cpus = busy(clean, ("--cpus", "1.5"), 2, 3)
    assert 0.95 * least <= stat <= 1.05 * most
    assert len(cpus) == 2
    assert max(cpus) <= 1.0
    assert stat < 1.7


def test_idle_beside_a_busy_neighbour(clean: Box) -> None:
    """An idle container says idle while another one works."""
    other = clean.start("--cpus", "0.5", "--", "sh", "-c", "while :; do :; done")
    stat, *_ = busy(clean, ("--cpus", "1"), 0, 2)
    clean.pyproc("delete", "--force", other)
    assert stat < 0.1


def test_uptime_is_the_init_processes(clean: Box) -> None:
    """Uptime is CLOCK_BOOTTIME minus init's start time, and CLOCK_MONOTONIC and ps agree."""
    script = """
import os, time
os.sysconf('SC_CLK_TCK')
start = int(open('/proc/1/stat').read().rpartition(')')[2].split()[19]) / 100
up = float(open('/proc/uptime').read().split()[0])
print(up - (time.clock_gettime(time.CLOCK_BOOTTIME) - start))
"""
    assert abs(float(clean.run("--rm", "--", "python3", "-c", script).stdout)) < 0.1 * clean.scale


@pytest.mark.needs_timens
def test_time_namespace(clean: Box) -> None:
    """With a time namespace CLOCK_MONOTONIC and `ps -o etimes` say the same as uptime."""
    script = """
import subprocess, time
time.sleep(2)
up = float(open('/proc/uptime').read().split()[0])
print(time.clock_gettime(time.CLOCK_MONOTONIC) - up)
print(int(subprocess.run(['ps', '-o', 'etimes=', '-p', '1'], capture_output=True).stdout) - up)
"""
    clock, ps = map(float, clean.run("--rm", "--", "python3", "-c", script).stdout.split())
    assert abs(clock) < 0.1 * clean.scale
    assert abs(ps) < 1.5 * clean.scale


def test_counters_never_go_back(clean: Box, lane: str) -> None:
    """stat's and uptime's counters grow over a thousand reads (fewer where Python is slow) while limits change."""
    script = f"""
import os
if os.fork() == 0:
    while 1: pass
def read():
    rows = [l.split() for l in open('/proc/stat') if l.startswith('cpu')]
    found = {{row[0]: [int(x) for x in row[1:]] for row in rows}}
    return found | {{'uptime': [float(x) for x in open('/proc/uptime').read().split()]}}
last, counts = {{}}, set()
for _ in range({1000 if lane == "here" else 300}):
    now = read()
    for name in now:
        assert all(b >= a for a, b in zip(last.get(name, ()), now[name])), (name, last[name], now[name])
    last |= now
    counts.add(len(now) - 2)
print(max(counts), 'ok')
"""
    name = clean.start("--cpus", "0.5", "--", "python3", "-c", script)
    cgroups = Path("/sys/fs/cgroup")
    files = [*cgroups.glob(f"cpu/pyproc/{name}/cpu.cfs_quota_us"), *cgroups.glob(f"pyproc/{name}/cpu.max")]
    deadline = time.monotonic() + 60 * clean.scale
    quotas = [50_000, 90_000, 150_000, 10_000, 100_000]
    while "running" in clean.pyproc("state", name).stdout and time.monotonic() < deadline:
        files[0].write_text(str(quotas[0]))
        quotas.append(quotas.pop(0))
    assert clean.pyproc("logs", name).stdout == f"{min(2, os.cpu_count() or 1)} ok\n"
    clean.pyproc("delete", "--force", name)


def test_limits_changed_from_outside(clean: Box) -> None:
    """A limit that is changed while the container runs is seen at the next read."""
    name = clean.start("-m", "64m", "--memory-swap", "-1", "--", "sleep", "100")
    path = next(
        path
        for path in (
            Path(f"/sys/fs/cgroup/memory/pyproc/{name}/memory.limit_in_bytes"),
            Path(f"/sys/fs/cgroup/pyproc/{name}/memory.max"),
        )
        if path.exists()
    )
    path.write_text(str(128 * MIB))
    assert "131072 kB" in clean.pyproc("exec", name, "--", "grep", "MemTotal", "/proc/meminfo").stdout
    clean.pyproc("delete", "--force", name)


def test_swap(clean: Box) -> None:
    """SwapTotal is what --memory-swap leaves beyond -m, as far as the host has any."""
    options = ("--rm", "-m", "64m", "--memory-swap", "96m")
    text = clean.run(*options, "--", "grep", "-E", "MemTotal|SwapTotal|SwapFree", "/proc/meminfo").stdout
    memory, total, free = (int(line.split()[1]) << 10 for line in text.splitlines())
    assert (memory, total) == (64 * MIB, min(32 * MIB, host_meminfo("SwapTotal")))
    assert free <= total


def test_texts_parse_like_the_hosts(clean: Box) -> None:
    """meminfo has the host's lines, stat the host's names and columns."""
    script = "cut -d: -f1 /proc/meminfo; awk '{print $1, NF}' /proc/stat"
    inside = clean.run("--rm", "--", "sh", "-c", script).stdout
    outside = [line.partition(":")[0] for line in Path("/proc/meminfo").read_text().splitlines()]
    outside += [f"{line.split()[0]} {len(line.split())}" for line in Path("/proc/stat").read_text().splitlines()]
    assert inside.splitlines() == outside

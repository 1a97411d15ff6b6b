"""What people's tools make of the files: procps and psutil."""

from __future__ import annotations

import json
import re
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.box import Box

SMALL = ("--rm", "-m", "64m", "--memory-swap", "64m", "--cpus", "1")
USED = """
import os
def used():
    for at in ('/sys/fs/cgroup/cpuacct/cpuacct.usage', '/sys/fs/cgroup/cpu,cpuacct/cpuacct.usage'):
        if os.path.exists(at): return int(open(at).read()) / 1e9
    return int(open('/sys/fs/cgroup/cpu.stat').read().split()[1]) / 1e6
"""


@pytest.mark.anywhere
@pytest.mark.needs_procps
def test_top(clean: Box) -> None:
    """The second screen of `top -b -n2` says of a busy loop with half a CPU what the cgroup says."""
    script = f"""{USED}
import subprocess, time
if os.fork() == 0:
    while 1: pass
time.sleep(1)
top = subprocess.Popen(['top', '-b', '-n2', '-d', '3'], stdout=subprocess.PIPE, text=True)
text, readings = '', []
while line := top.stdout.readline():
    if line.startswith('top -'): readings.append((time.monotonic(), used()))
    text += line
print((readings[1][1] - readings[0][1]) / (readings[1][0] - readings[0][0]))
print(text)
"""
    share, _, text = clean.run("--rm", "--cpus", "0.5", "--", "python3", "-c", script).stdout.partition("\n")
    busy = re.findall(r"^%Cpu\(s\): *([\d.]+) us, *([\d.]+) sy, *([\d.]+) ni, *([\d.]+) id", text, re.M)[1]
    user, system, nice, idle = map(float, busy)
    assert (user + system + nice) / 100 == pytest.approx(float(share), rel=0.1)
    assert user + system + nice + idle == pytest.approx(100, abs=0.5)
    assert 0.3 < float(share) < 0.6


def test_psutil(clean: Box) -> None:
    """psutil reads the limits, the CPUs, growing times and the container's own start."""
    packages = sysconfig.get_path("purelib")
    script = """
import json, psutil, time
memory, swap, times = psutil.virtual_memory(), psutil.swap_memory(), psutil.cpu_times()
stats = psutil.cpu_stats()
print(json.dumps([memory.total, memory.available, memory.used, swap.total, psutil.cpu_count(), len(times),
    len(psutil.cpu_times(percpu=True)), times.idle + times.user, psutil.boot_time(), time.time(),
    min(memory), min(times)]))
"""
    options = ("--rm", "-m", "96m", "--memory-swap", "96m", "--cpus", "1", "-v", f"{packages}:/packages:ro")
    text = clean.run(*options, "-e", "PYTHONPATH=/packages", "--", "python3", "-c", script).stdout
    total, available, used, swap, count, columns, cpus, spent, boot, now, *least = json.loads(text)
    assert (total, swap, count, cpus) == (96 << 20, 0, 1, 1)
    assert 0 < available <= total
    assert 0 < used < total
    assert columns == len(Path("/proc/stat").read_text().splitlines()[0].split()) - 1
    assert 0 <= now - boot < 60 * clean.scale
    assert spent <= now - boot + 1.1
    assert min(least) >= 0


@pytest.mark.anywhere
@pytest.mark.needs_procps
def test_vmstat(clean: Box) -> None:
    """`vmstat` reads the limits, and shares of time that make a whole."""
    script = "vmstat -S K; vmstat -s"
    text = clean.run(*SMALL, "--", "sh", "-c", script).stdout
    header, row = re.findall(r"^ r +b .*\n.*$", text, re.M)[0].split("\n")
    values = dict(zip(header.split(), map(int, row.split()), strict=True))
    assert values["us"] + values["sy"] + values["id"] + values["wa"] + values["st"] in (99, 100, 101)
    assert 0 < values["free"] <= 65536
    assert min(values.values()) >= 0
    assert re.search(r"^ *65536 K total memory$", text, re.M)
    assert re.search(r"^ *0 K total swap$", text, re.M)


def test_free_uptime_and_w(clean: Box) -> None:
    """`free` says the limit, `uptime` and `w` the container's age."""
    text = clean.run(*SMALL, "--", "sh", "-c", "free -k; uptime -p; uptime; w").stdout
    assert re.search(r"^Mem: +65536 ", text, re.M)
    assert re.search(r"^up \d+ minutes?$", text, re.M)
    assert len(re.findall(r"^ \d\d:\d\d:\d\d up +\d+ min, ", text, re.M)) == 2

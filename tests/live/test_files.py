"""The files about what a container does: load, disks, swap, and the directory of its CPUs."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.loads import EVERY_NSEC, EXPONENTS, FIXED_1
from lxcfs_py.served import FILES
from tests.live.box import BIN

if TYPE_CHECKING:
    from tests.live.box import Box

CPU = "/sys/devices/system/cpu"
NODE = "/sys/devices/system/node"
BUSY = "import os, time\nfor _ in range(2):\n    if os.fork() == 0:\n        while 1: pass\ntime.sleep(1000)"


class Loadavg:
    """The fields of a text."""

    def __init__(self, text: str) -> None:
        one, _, _, tasks, last = text.split()
        self.one, self.last = float(one), int(last)
        self.running, self.total = map(int, tasks.split("/"))


def loadavg(box: Box, name: str) -> Loadavg:
    """Return a container's load as its own file says it, read from outside."""
    return Loadavg((box.mountpoint / f"containers/{name}/proc/loadavg").read_text())


def changes(box: Box, name: str, count: int) -> list[Loadavg]:
    """Return as many loads as asked for, each a sample later than the one before."""
    found = [loadavg(box, name)]
    deadline = time.monotonic() + (count + 3) * EVERY_NSEC / 1e9 * max(1, box.scale / 3)
    while len(found) < count:
        time.sleep(0.2)
        now = loadavg(box, name)
        if now.one != found[-1].one:
            found.append(now)
        assert time.monotonic() < deadline, [load.one for load in found]
    return found


def test_load_is_the_containers_own(clean: Box) -> None:
    """Two busy loops are a load that goes to 2 as the kernel's would; the idle neighbour's stays 0."""
    idle = clean.start("--", "sh", "-c", "sleep 1000 & sleep 1000 & wait")
    busy = clean.start("--", "python3", "-c", BUSY)
    found = changes(clean, busy, 3)
    share = EXPONENTS[0] / FIXED_1
    for before, after in itertools.pairwise(found[1:]):
        assert (after.running, after.total) == (2, 3)
        shares = [share**steps for steps in (1, 2, 3)]  # a sample that is late counts for those that were missed
        assert any(abs(before.one * s + 2 * (1 - s) - after.one) < 0.02 for s in shares), (before.one, after.one)
    neighbour = loadavg(clean, idle)
    assert (neighbour.one, neighbour.running, neighbour.total, neighbour.last) == (0.0, 0, 3, 3)
    shown = subprocess.run(
        [BIN / "lxcfs-py", "show", "loadavg", "--container", busy],
        env=clean.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Loadavg(shown.stdout).one >= found[-1].one
    uptime = clean.pyproc("exec", busy, "--", "uptime").stdout
    assert float(uptime.rpartition("average: ")[2].split(",")[0]) >= found[-1].one
    for name in (idle, busy):
        clean.pyproc("delete", "--force", name)


def test_load_by_caller(clean: Box) -> None:
    """Without registration a load begins with the first read of it, and counts that container's tasks."""
    script = "cat /proc/loadavg; for i in $(seq 100); do grep -q ^0.00 /proc/loadavg || break; sleep 1; done; "
    script += "cat /proc/loadavg"
    bind = f"-v{clean.mountpoint}/proc/loadavg:/proc/loadavg"
    command = ["--rm", "--proc-view", "off", bind, "--", "sh", "-c", f"while :; do :; done & {script}; kill $!"]
    first, later = clean.run(*command).stdout.splitlines()
    assert Loadavg(first).one == 0.0
    assert 0.05 < Loadavg(later).one < 2.0
    assert Loadavg(later).running in (1, 2)
    assert Loadavg(later).last < 20


def test_swaps_agree_with_meminfo(clean: Box) -> None:
    """swaps, `swapon -s` and `free` say meminfo's SwapTotal."""
    script = "echo ---; tail -n +2 /proc/swaps; echo ---; grep SwapTotal /proc/meminfo; swapon -s; free -k | tail -1"
    text = clean.run("--rm", "-m", "64m", "--memory-swap", "96m", "--", "sh", "-c", script).stdout
    swaps, meminfo, free = text.split("---\n")[1], re.search(r"SwapTotal: +(\d+)", text), text.splitlines()[-1]
    assert meminfo
    total = int(meminfo[1])
    assert sum(int(line.split()[2]) for line in swaps.splitlines()) == total
    assert int(free.split()[1]) == total
    assert text.count("virtual") == (2 if total else 0)
    assert total <= 32 << 10


def test_diskstats_is_the_containers_own(clean: Box, disk: tuple[str, Path]) -> None:
    """What a container writes to a disk is in its diskstats, in a line of the host's form; a neighbour has none."""
    loop, at = disk
    script = "dd if=/dev/zero of=/at/f bs=64k count=32 oflag=direct 2>/dev/null; cat /proc/diskstats"
    limit = ["--device-write-bps", f"{loop}:100m"]  # so that the controller is on
    text = clean.run("--rm", *limit, "-v", f"{at}:/at", "--", "sh", "-c", script).stdout
    neighbour = clean.run("--rm", *limit, "--", "cat", "/proc/diskstats").stdout
    host = {line.split()[2]: line.split() for line in Path("/proc/diskstats").read_text().splitlines()}
    name = os.path.basename(loop)
    words = next(line.split() for line in text.splitlines() if line.split()[2] == name)
    assert words[:3] == host[name][:3]
    assert len(words) == len(host[name])
    assert 4096 <= int(words[9]) < 6000  # sectors
    assert int(words[7]) >= 32
    assert name not in neighbour.split()


def test_vmstat_and_slabinfo(clean: Box) -> None:
    """vmstat has the host's names and the container's faults; slabinfo has nothing of the host, and is root's."""
    script = "cat /proc/vmstat /proc/vmstat; echo; cat /proc/slabinfo; stat -c %a /proc/slabinfo"
    first, second, slabs = _split(clean.run("--rm", "--", "sh", "-c", script).stdout)
    host = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    assert list(first) == list(second) == list(host)
    assert 0 < int(first["pgfault"]) <= int(second["pgfault"]) < int(host["pgfault"])
    if os.path.exists("/proc/slabinfo"):
        assert slabs[0].startswith("slabinfo")
        assert len(slabs) == 3
        assert slabs[-1] == "400"


def _split(text: str) -> tuple[dict[str, str], dict[str, str], list[str]]:
    counters, _, slabs = text.partition("\n\n")
    lines = counters.splitlines()
    half = len(lines) // 2
    return (
        dict(line.split() for line in lines[:half]),
        dict(line.split() for line in lines[half:]),
        slabs.splitlines(),
    )


CPUS = f"""
cd {CPU}
cat online present possible
ls -d cpu[0-9]* | wc -l
grep -c . offline
lscpu | grep -E '^(CPU.s.:|On-line)'
getconf _NPROCESSORS_ONLN; getconf _NPROCESSORS_CONF
python3 -c 'import os; print(os.cpu_count())'
cat cpu*/topology/core_siblings_list cpu*/topology/package_cpus_list cpu*/topology/core_cpus_list 2>/dev/null
"""


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--cpus", "1"), 1),
        pytest.param(("--cpuset-cpus", "1"), 1, marks=[pytest.mark.needs_cpuset, pytest.mark.needs_cpus(2)]),
        pytest.param(("--cpuset-cpus", "1,3"), 2, marks=[pytest.mark.needs_cpuset, pytest.mark.needs_cpus(4)]),
        ((), os.cpu_count()),
    ],
)
def test_one_picture_of_the_cpus(clean: Box, options: tuple[str, ...], count: int) -> None:
    """All of sys/devices/system/cpu, lscpu and glibc say the same number of CPUs, counted from 0."""
    lines = clean.run("--rm", *options, "--", "sh", "-c", CPUS).stdout.splitlines()
    whole = "0" if count == 1 else f"0-{count - 1}"
    assert lines[:3] == [whole] * 3
    assert lines[3] == str(count)
    assert re.search(rf"CPU\(s\): +{count}$", lines[5])
    assert re.search(r"list: +([0-9,-]+)$", lines[6])
    assert lines[7:10] == [str(count)] * 3
    named = {int(number) for line in lines[10:] for number in re.findall(r"\d+", line)}
    assert named <= set(range(count))


@pytest.mark.needs_cpus(2)
def test_cpus_by_caller(clean: Box) -> None:
    """The directory bound from sys/ has the caller's CPUs; the host's own processes see the host's."""
    bind = f"-v{clean.mountpoint}{CPU}:{CPU}"
    command = ["--rm", "--proc-view", "off", "--cpus", "1", bind, "--", "sh", "-c", f"cd {CPU}; cat online; ls"]
    lines = clean.run(*command).stdout.splitlines()
    assert lines[0] == "0"
    assert [name for name in lines if re.fullmatch(r"cpu\d+", name)] == ["cpu0"]
    outside = clean.mountpoint / CPU[1:]
    assert (outside / "online").read_text() == Path(f"{CPU}/online").read_text()
    assert sorted(os.listdir(outside)) == sorted(os.listdir(CPU))


NODES = f"""
lscpu | grep '^NUMA node0 CPU'
cd {NODE}/node0
cat cpulist; ls -d cpu[0-9]*; readlink cpu0; cat cpu0/node0/cpulist {CPU}/cpu0/node0/cpulist
cat ../possible; cat numastat | cut -d' ' -f2 | sort -u
echo ---; cat meminfo; echo ---; cat /proc/meminfo
"""


@pytest.mark.needs_nodes
def test_one_picture_of_the_nodes(clean: Box) -> None:
    """lscpu and all below sys/devices/system/node say the container's CPU and, of memory, what proc/meminfo says."""
    text = clean.run("--rm", "--cpus", "1", "-m", "256m", "--", "sh", "-c", NODES).stdout
    head, node, whole = text.split("---\n")
    lines = head.splitlines()
    assert re.fullmatch(r"NUMA node0 CPU\(s\): +0", lines[0])
    assert lines[1:] == ["0", "cpu0", "../../cpu/cpu0", "0", "0", Path(f"{NODE}/possible").read_text().strip(), "0"]
    amounts, most = (
        {name: int(value) for name, value in re.findall(r"^(?:Node 0 )?(\S+): +(\d+)", part, re.M)}
        for part in (node, whole)
    )
    assert amounts["MemTotal"] == 256 << 10
    assert amounts["MemUsed"] == amounts["MemTotal"] - amounts["MemFree"]
    slack = 4 << 10  # the two are read one after the other
    assert {name for name in amounts.keys() & most.keys() if amounts[name] > most[name] + slack} == set()
    host = Path(f"{NODE}/node0/meminfo").read_text()
    assert [line.partition(":")[0] for line in node.splitlines()] == [
        line.partition(":")[0] for line in host.splitlines()
    ]


@pytest.mark.needs_nodes
@pytest.mark.needs_cpuset
@pytest.mark.needs_cpus(2)
def test_a_nodes_cpus_are_counted_anew(clean: Box) -> None:
    """On CPU 1 alone a container's node has CPU 0 alone, and its link leads to what is CPU 0 inside."""
    script = f"cd {NODE}/node0; ls -d cpu[0-9]*; readlink cpu0; cat cpulist; test -e cpu1 || echo none"
    lines = clean.run("--rm", "--cpuset-cpus", "1", "--", "sh", "-c", script).stdout.split()
    assert lines == ["cpu0", "../../cpu/cpu0", "0", "none"]


def test_the_node_directory_is_there_where_the_host_has_it(box: Box) -> None:
    """The mount has the directory of nodes, for the host with the host's names and links, if the kernel has one."""
    ours, theirs = box.mountpoint / NODE[1:], Path(NODE)
    assert ours.exists() == theirs.exists()
    assert ("node" in os.listdir(ours.parent)) == theirs.exists()
    for at in theirs.glob("node[0-9]*"):
        assert sorted(os.listdir(ours / at.name)) == sorted(os.listdir(at))
        assert (ours / at.name / "cpu0").resolve() == ours.parent / "cpu/cpu0"
        assert (ours / at.name / "cpulist").read_text() == (at / "cpulist").read_text()


WAYS = """
import os, subprocess, sys
def said(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
for path in sys.argv[1:]:
    with open(path, 'rb') as file:
        lines = file.read().count(b'\\n')
    said('busybox', 'cp', path, '/tmp/copy')
    said('cp', path, '/tmp/copy2')
    copies = [said('busybox', 'cat', path), said('cat', path)]
    copies += [open(copy, 'rb').read() for copy in ('/tmp/copy', '/tmp/copy2')]
    assert [copy.count(b'\\n') for copy in copies] == [lines] * 4, (path, lines, copies)
    if not lines:  # no disk was used
        continue
    last, size = said('tail', '-n', '1', path), int(said('wc', '-c', path).split()[0])
    assert last[-1:] == b'\\n' and last.count(b'\\n') == 1, (path, last)
    assert last.split()[:1] == copies[0].splitlines()[-1].split()[:1] or lines == 1, (path, last)
    assert abs(size - len(copies[0])) <= 8, (path, size, len(copies[0]))
print('ok')
"""


def test_every_way_to_read(clean: Box) -> None:
    """However programs copy, count or look for the end, each file is whole: by sendfile(2) and by its size too."""
    paths = [f"/{path}" for path in FILES if path != "proc/slabinfo" and os.path.exists(f"/{path}")]
    assert clean.run("--rm", "-m", "64m", "--", "python3", "-c", WAYS, *paths).stdout == "ok\n"

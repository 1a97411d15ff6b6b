"""How cost grows with the number of containers."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lxcfs_py.host import Host
from tests.bench.many import Many, memory_kib, serve
from tests.usage import processes, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZES = (1, 10, 100, 1000)
NEW, ROUNDS, READS = 20, 5, 2000
FILES = ("meminfo", "stat", "uptime", "loadavg", "cpuinfo")
REST_SECONDS = 6.0
"""In which each container is sampled once."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time used so far by a daemon's processes."""
    return sum(int(Path(f"/proc/{each}/schedstat").read_text().split()[0]) for each in processes(pid)) / 1e9


def read(path: str) -> float:
    """Read a file to its end; return how many microseconds it took."""
    since = time.perf_counter()
    descriptor = os.open(path, os.O_RDONLY)
    while os.read(descriptor, 65536):
        pass
    os.close(descriptor)
    return (time.perf_counter() - since) * 1e6


def bound(path: Path) -> str:
    """Return a path that is opened without a look-up, as what is bound in a container."""
    return f"/proc/self/fd/{os.open(path, os.O_PATH)}"


def first_reads(many: Many, mountpoint: Path) -> tuple[list[float], list[float]]:
    """Return the milliseconds of the first read of new containers: where it is bound, and with its look-up."""
    times: tuple[list[float], list[float]] = [], []
    for turn in range(2 * NEW):
        path = mountpoint / "containers" / many.add() / "proc/meminfo"
        times[turn % 2].append(read(str(path) if turn % 2 else bound(path)) / 1000)
    return times


def growing(base: Path, environment: Mapping[str, str]) -> None:
    """Print a line for each number of containers."""
    del environment
    host, mountpoint = Host(run=str(base / "many")), base / "many-served"
    print(
        f"\n{'':10} {'serves':>8} {'first read ms':>14} {'with look-up':>14} {'read us':>8} {'all in turn':>11} {'idle CPU':>9}"
    )
    print(
        f"{'containers':10} {'after s':>8} {'median':>7}{'worst':>7} {'median':>7}{'worst':>7} {'one':>8} {'median':>11} {'%':>9}  uses"
    )
    for size in SIZES:
        with Many(host) as many:
            for _ in range(size):
                many.add()
            daemon, after = serve(host, mountpoint)
            try:
                paths = [
                    bound(mountpoint / f"containers/soak-{number}/proc/{file}")
                    for number in range(size)
                    for file in FILES
                ]
                time.sleep(REST_SECONDS)
                used, since = cpu_seconds(daemon.pid), time.monotonic()
                time.sleep(REST_SECONDS)
                idle = (cpu_seconds(daemon.pid) - used) / (time.monotonic() - since)
                found = usage(daemon.pid)
                new = first_reads(many, mountpoint)
                one = statistics.median(read(paths[0]) for _ in range(READS))
                for path in paths:
                    read(path)
                rows = [read(path) for _ in range(max(1, READS // len(paths))) for path in paths]
                text = (mountpoint / f"containers/soak-{size - 1}/proc/meminfo").read_text()
                assert text.split()[1] == str(memory_kib(size - 1)), text
                columns = " ".join(f"{statistics.median(times):7.2f}{max(times):7.2f}" for times in new)
                print(
                    f"{size:10} {after:8.2f} {columns} {one:8.0f} {statistics.median(rows):11.0f} {idle * 100:9.2f}  {found}; read: {usage(daemon.pid)}",
                    flush=True,
                )
            finally:
                daemon.terminate()
                daemon.wait()
                for path in paths:
                    os.close(int(path.rpartition("/")[2]))

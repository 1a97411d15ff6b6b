"""What reading costs: ours beside LXCFS, in turns, as the tables of docs/performance.md; and what is below it that no text
can be without.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from lxcfs_py.container import registered
from lxcfs_py.explain import Recorder
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from lxcfs_py.reader import Reader
from lxcfs_py.served import CPU, FILES
from lxcfs_py.views import read
from tests.usage import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxcfs_py.container import Container

HERE = Path(__file__).resolve().parent
ROUNDS, MILLISECONDS = 15, 250
AIM = 0.5
"""Of LXCFS's latency and CPU time; of its throughput the inverse."""
FLOOR, EMPTY = "floor", "empty"
"""A program in C and one in Python that answer with constants."""


class Turn(NamedTuple):
    """What the readers of one turn saw, in microseconds, and what the daemon's processes took for a read."""

    tenth: float
    median: float
    rate: float
    """Reads a second, all readers together."""
    cpu: float


class Contender(NamedTuple):
    """Who serves a file."""

    pid: int
    path: str
    """Within the container."""


def cpu_usec(pid: int) -> float:
    """Return the CPU time used so far by a process and all its descendants (clock_getcpuclockid(3))."""
    total = 0
    for each in processes(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime_ns(~each << 3 | 2)
    return total / 1000


class Readers:
    """``read.c`` inside a container."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def turn(self, whose: Contender, readers: int, milliseconds: int = MILLISECONDS) -> Turn:
        """Have so many readers read a file for so long."""
        assert self._process.stdin and self._process.stdout
        before = cpu_usec(whose.pid)
        self._process.stdin.write(f"{readers} {milliseconds} {whose.path}\n")
        self._process.stdin.flush()
        tenth, median, _, count = map(float, self._process.stdout.readline().split())
        return Turn(tenth, median, count * 1000 / milliseconds, (cpu_usec(whose.pid) - before) / count)


def measured(readers: Readers, whose: dict[str, Contender], count: int) -> dict[str, list[Turn]]:
    """Return the turns of each, which take turns."""
    for each in whose.values():
        readers.turn(each, count, 100)
    found: dict[str, list[Turn]] = {name: [] for name in whose}
    for _ in range(ROUNDS):
        for name, each in whose.items():
            found[name].append(readers.turn(each, count))
    return found


def middle(turns: list[Turn]) -> Turn:
    """Return the median of each figure."""
    return Turn(*map(statistics.median, zip(*turns, strict=True)))


def ratios(ours: list[Turn], theirs: list[Turn]) -> Turn:
    """Return the median of each figure's ratio, of what was measured one after the other."""
    return middle([Turn(*(a / b for a, b in zip(*pair, strict=True))) for pair in zip(ours, theirs, strict=True)])


def kernel_usec(host: Host, container: Container, path: str) -> tuple[int, float]:
    """Return how many kernel files a text is made of, and how long reading them takes: the best of many times."""
    files = Recorder()
    reader = Reader(host, files)
    read(reader, container, path)
    files.asked.clear()
    read(reader, container, path)  # without what is read once a second
    with contextlib.ExitStack() as stack:
        opened = []
        for each in files.asked:
            if files.texts.get(each) is not None:
                opened.append(os.open(each, os.O_RDONLY))
                stack.callback(os.close, opened[-1])
        best = float("inf")
        for _ in range(1000):
            since = time.perf_counter_ns()
            for descriptor in opened:
                os.pread(descriptor, 1 << 16, 0)
            best = min(best, (time.perf_counter_ns() - since) / 1000)
    return len(opened), best


def name(file: str) -> str:
    """Return what a file is called in a table."""
    return file.removeprefix("proc/")


def reading(
    base: Path,
    theirs: Path,
    daemons: tuple[int, int],
    enter: Callable[[list[str]], list[str]],
) -> None:
    """Print the tables; ``daemons`` are ours and LXCFS, ``enter`` starts a container with binds, and enters it."""
    binds = ["-v", f"{theirs}:/lxcfs"]
    for program, flags in (("read", ""), (FLOOR, "pkg-config --cflags --libs fuse3")):
        more = shlex.split(subprocess.run(flags, shell=True, capture_output=True, text=True, check=True).stdout)
        subprocess.run(["cc", "-O2", "-o", base / program, HERE / f"{program}.c", *more], check=True)
    servers = {}
    try:
        for kind, command in (
            (FLOOR, [str(base / FLOOR)]),
            (EMPTY, [sys.executable, str(HERE / "empty.py")]),
        ):
            at = base / f"{kind}-served"
            at.mkdir()
            servers[kind] = subprocess.Popen([*command, at])
            while not (at / "file").exists():
                time.sleep(0.05)
            binds += ["-v", f"{at}:/{kind}"]
        inside = enter([*binds, "-v", f"{base / 'read'}:/read"])
        constant = {kind: Contender(server.pid, f"/{kind}/file") for kind, server in servers.items()}
        with Readers([*inside, "/read"]) as readers:
            tables(readers, base, theirs, daemons, constant)
    finally:
        for kind, server in servers.items():
            server.kill()
            server.wait()
            subprocess.run(["umount", "-l", base / f"{kind}-served"], check=False)


def tables(
    readers: Readers, base: Path, theirs: Path, daemons: tuple[int, int], constant: dict[str, Contender]
) -> None:
    """Print the table of one reader, of what is below it, and of eight readers."""
    files = [file for file in (*FILES, f"{CPU}/online") if (theirs / file).exists()]
    whose = dict(constant)
    for file in files:
        whose[f"lxcfs {file}"] = Contender(daemons[1], f"/lxcfs/{file}")
        whose[file] = Contender(daemons[0], f"/{file}")
    one = measured(readers, whose, 1)
    print("\n| file | LXCFS: latency, CPU us | ours | latency | median | CPU |\n|---|---|---|---|---|---|")
    for file in files:
        us, them, ratio = middle(one[file]), middle(one[f"lxcfs {file}"]), ratios(one[file], one[f"lxcfs {file}"])
        print(
            f"| {name(file)} | {them.tenth:.0f}, {them.cpu:.0f} | {us.tenth:.0f}, {us.cpu:.0f} "
            f"| {ratio.tenth:.2f} | {ratio.median:.2f} | {ratio.cpu:.2f} |"
        )
    for kind in (FLOOR, EMPTY):
        turn = middle(one[kind])
        print(f"| ({kind}) | | {turn.tenth:.0f}, {turn.cpu:.0f} | | | |", flush=True)
    below(one, files, base)
    eight = measured(readers, whose, 8)
    print("\n| file | LXCFS: reads a second, CPU us | ours | throughput | CPU |\n|---|---|---|---|---|")
    for file in files:
        us, them, ratio = (
            middle(eight[file]),
            middle(eight[f"lxcfs {file}"]),
            ratios(eight[file], eight[f"lxcfs {file}"]),
        )
        print(
            f"| {name(file)} | {them.rate:,.0f}, {them.cpu:.0f} | {us.rate:,.0f}, {us.cpu:.0f} "
            f"| {ratio.rate:.2f} | {ratio.cpu:.2f} |"
        )
    for kind in (FLOOR, EMPTY):
        turn = middle(eight[kind])
        print(f"| ({kind}) | | {turn.rate:,.0f}, {turn.cpu:.0f} | | |", flush=True)


def below(one: dict[str, list[Turn]], files: list[str], base: Path) -> None:
    """Print what a read costs at least, beside the aim: a server in Python that answers with constants, and the kernel
    files of which the text is made.
    """
    host = Host(run=str(base / "run"))
    container = next(iter(registered(host, Files(1)).values()))
    least = middle(one[EMPTY])
    head = "| file | aim: latency, CPU | Python's floor | kernel files | together | above the aim | ours |"
    print(f"\n{head}\n|---|---|---|---|---|---|---|")
    for file in files:
        count, kernel = kernel_usec(host, container, file)
        us, them = middle(one[file]), middle(one[f"lxcfs {file}"])
        aim = them.tenth * AIM, them.cpu * AIM
        sums = least.tenth + kernel, least.cpu + kernel
        above = ", ".join(f"{have - want:+.0f}" for have, want in zip(sums, aim, strict=True))
        print(
            f"| {name(file)} | {aim[0]:.0f}, {aim[1]:.0f} | {least.tenth:.0f}, {least.cpu:.0f} | {count}: {kernel:.0f} "
            f"| {sums[0]:.0f}, {sums[1]:.0f} | {above} | {us.tenth:.0f}, {us.cpu:.0f} |"
        )

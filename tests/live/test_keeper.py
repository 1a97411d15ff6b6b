"""With a keeper of the mount's descriptor, whatever else dies: containers read on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import lxcfs_py
from lxcfs_py.daemon.processes import FACTS_BYTES
from tests.live.box import BIN, Box, sigkill
from tests.live.test_daemon import RELAYS

if TYPE_CHECKING:
    from collections.abc import Callable

    Act = Callable[[int, Path], None]

pytestmark = pytest.mark.alone


READER = """
import sys, time
until, bad, count, worst, eio = time.monotonic() + float(sys.argv[1]), 0, 0, 0.0, 0
while (start := time.monotonic()) < until:
    try:
        text = open('/proc/meminfo').read()
    except OSError as error:
        eio += error.errno == 5
        bad += error.errno != 5
        continue
    count += 1
    worst = max(worst, time.monotonic() - start)
    bad += not (text.startswith('MemTotal:          65536 kB\\n') and text.endswith('\\n') and text.count(':') > 15)
print(count, bad, eio, worst)
"""
BOUND_SECONDS = 2.0
"""No read may wait for longer."""


class Processes:
    """Who is who below a holder; ``base`` is its box's directory, which their command lines name."""

    def __init__(self, holder: int, base: Path) -> None:
        listing = subprocess.run(
            ["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split(None, 2) for line in listing.splitlines()]
        parents = {int(pid): int(parent) for pid, parent, _ in rows}
        serving = [int(pid) for pid, _, words in rows if "lxcfs_py.daemon.workers" in words and f"{base}/" in words]
        self.supervisors = [pid for pid, parent in parents.items() if parent == holder]
        self.templates = [pid for pid in serving if parents.get(pid) not in serving]
        self.workers = [pid for pid in serving if pid not in self.templates]


def supervisor(now: Processes) -> list[int]:
    """Return the supervisor alone."""
    return now.supervisors


def template(now: Processes) -> list[int]:
    """Return the template, with which its workers die."""
    return now.templates


def everything(now: Processes) -> list[int]:
    """Return all but the holder."""
    return now.supervisors + now.templates + now.workers


def kill(choose: Callable[[Processes], list[int]]) -> Act:
    """Return what kills some of the processes below a holder."""

    def act(holder: int, base: Path) -> None:
        for pid in choose(Processes(holder, base)):
            sigkill(pid)

    return act


def stop_a_worker(holder: int, base: Path) -> None:
    """SIGSTOP a worker, wherever it is."""
    with contextlib.suppress(IndexError, ProcessLookupError):
        os.kill(Processes(holder, base).workers[0], signal.SIGSTOP)


def begin_anew(holder: int, base: Path) -> None:
    """Ask for another supervisor and other workers, as an upgrade does."""
    os.kill(holder, signal.SIGHUP)


ACTS = {
    "supervisor": kill(supervisor),
    "template": kill(template),
    "everything": kill(everything),
    "stopped-worker": stop_a_worker,
    "anew": begin_anew,
}


class Seen(NamedTuple):
    """What readers saw, together, while something was done to the daemon again and again."""

    acts: int
    least: int
    """Reads of the one that had the fewest."""
    bad: int
    """Reads that failed otherwise than with EIO, or whose text was wrong."""
    eio: int
    worst_seconds: float
    top: int | None
    """How ``top``, which was open all the time, has ended by then; None: not at all, or it was not wanted."""


def hammered(own: Box, act: Act, readers: int, seconds: float, pause: float, *, top: bool) -> Seen:
    """Have readers in a container read while something is done to the daemon, with a pause between."""
    assert own.served is not None
    name, holder = own.start("-m", "64m", "--memory-swap", "64m", "--", "sleep", "1000"), own.served.pid
    inside = [str(BIN / "pyproc"), "exec", *own.places, name, "--"]
    script = ["python3", "-c", READER, str(seconds)]
    watched = subprocess.Popen(
        [*inside, *(["top", "-b", "-d", "0.1"] if top else ["sleep", "1000"])],
        stdout=subprocess.DEVNULL,
        env=own.environment,
    )
    running = [
        subprocess.Popen([*inside, *script], stdout=subprocess.PIPE, env=own.environment) for _ in range(readers)
    ]
    acts, until = 0, time.monotonic() + seconds - 1
    while acts < 2 or time.monotonic() < until:
        time.sleep(pause)
        act(holder, own.base)
        acts += 1
        with contextlib.suppress(OSError):  # the one read that fails before 6.9
            (own.mountpoint / "proc/uptime").read_text()  # answered: it serves again, and may be killed again
    rows = [list(map(float, reader.communicate(timeout=30 * own.scale)[0].split())) for reader in running]
    ended = watched.poll()
    watched.kill()
    watched.wait()
    counts, bads, eios, worsts = zip(*rows, strict=True)
    return Seen(acts, int(min(counts)), int(sum(bads)), int(sum(eios)), max(worsts), ended)


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_readers_read_on(own: Box, lane: str, relay: str, act: Act) -> None:
    """Whatever happens below the holder, under hammering readers: no read fails or is wrong or waits for long, and
    `top` goes on.

    On kernels before 6.9 a process that is killed fails the one read it held with EIO.
    """
    begun = time.monotonic()
    holder = own.start_daemon(keeper="process", LXCFS_PY_RELAY=relay)
    bound = max(BOUND_SECONDS * own.scale, 2 * (time.monotonic() - begun))  # a guest may be slower still
    resends, here = relay == "0" and lane != "uml", lane == "here"
    seconds, pause, readers = (4, 0.8, 8) if here else (8 if lane == "uml" else 12, 2.0, 2)
    seen = hammered(own, act, readers, seconds, pause, top=resends and here)
    print(seen)
    assert seen.least > 5
    assert seen.bad == 0
    workers = len(os.sched_getaffinity(0))
    assert seen.eio <= (0 if resends or act is begin_anew else seen.acts * workers), seen
    assert seen.worst_seconds < bound, (bound, seen)
    assert seen.top is None
    assert holder.poll() is None


def test_counters_and_open_files_survive(own: Box) -> None:
    """CPU counters go on and an open file is read on, whoever serves it now."""
    holder = own.start_daemon(keeper="process")
    script = """
import sys, time
def cpu(): return list(map(int, open('/proc/stat').readline().split()[1:5]))
while sum(cpu()) < 60: pass
file = open('/proc/meminfo', buffering=100)
first, before = file.readline(), cpu()
print('go', flush=True)
sys.stdin.readline()
rest, after = file.read(), cpu()
assert all(b >= a for a, b in zip(before, after)), (before, after)
assert (first + rest).startswith('MemTotal:          65536 kB\\n') and rest.endswith('\\n'), rest
print('ok')
"""
    command = own.command("--rm", "-i", "-m", "64m", "--", "python3", "-c", script)
    with subprocess.Popen(
        command, env=own.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as inside:
        assert inside.stdin is not None
        assert inside.stdout is not None
        assert inside.stdout.readline() == "go\n"
        kill(everything)(holder.pid, own.base)
        (own.mountpoint / "proc/uptime").read_text()  # answered: it is served again
        inside.stdin.write("\n")
        inside.stdin.close()
        assert inside.stdout.read() == "ok\n"
        assert inside.wait(30 * own.scale) == 0


def change_layout(supervisor: int) -> None:
    """Have the memory of a session be of another layout than ours."""
    at = f"/proc/{supervisor}/fd"
    record = next(f"{at}/{fd}" for fd in os.listdir(at) if "/memfd:lxcfs-py-record" in os.readlink(f"{at}/{fd}"))
    with open(record, "r+b", buffering=0) as file:
        facts = json.loads(file.read(FACTS_BYTES).rstrip(b"\0"))
        file.seek(0)
        file.write(json.dumps({**facts, "layout": 0}).encode().ljust(FACTS_BYTES, b"\0"))


@pytest.mark.anywhere
def test_memory_of_another_layout(own: Box) -> None:
    """A version that can't use the memory there is begins with its own, and nobody serves with the old one besides:
    at most what was open fails; the next supervisor does the same.
    """
    holder = own.start_daemon(keeper="process")
    before = Processes(holder.pid, own.base)
    change_layout(before.supervisors[0])
    for act in (begin_anew, kill(supervisor), begin_anew):
        act(holder.pid, own.base)
        failed: list[int | None] = []
        deadline = time.monotonic() + 30 * own.scale
        while True:
            try:
                assert (own.mountpoint / "proc/meminfo").read_text().startswith("MemTotal:")
            except OSError as error:
                failed.append(error.errno)
            now = Processes(holder.pid, own.base)
            if now.templates and not set(now.templates) & set(before.templates) and len(now.templates) == 1:
                break
            assert time.monotonic() < deadline, now.templates
        assert failed in ([], [errno.EBADF])
        before = now
        for _ in range(200):
            assert (own.mountpoint / "proc/meminfo").read_text().startswith("MemTotal:")


def until(condition: Callable[[], object], own: Box, *, read: bool) -> None:
    """Wait until something holds; ``read``: meanwhile what is read is right."""
    deadline = time.monotonic() + 60 * own.scale
    while not condition():
        assert time.monotonic() < deadline, own.log.read_text()
        if read:
            assert (own.mountpoint / "proc/meminfo").read_text().startswith("MemTotal:")


BREAKAGES = {
    "no-import": ("daemon/workers.py", "import lxcfs_py.fuse.lean ", "import lxcfs_py.fuse.nothing "),
    "no-session": ("fuse/driver.py", "pyfuse3.init(operations", "pyfuse3.nothing(operations"),
    "wrong-answers": ("fuse/reading.py", "_operations.opened(", "_operations.nothing("),
    "another-layout": ("daemon/session.py", "LAYOUT = ", "LAYOUT = 1000 + "),
}
"""A file, what is replaced in it, and by what."""


@pytest.mark.anywhere
@pytest.mark.parametrize(
    "broken",
    [["no-import"], ["no-session"], ["wrong-answers"], ["another-layout", "no-import"]],
    ids=["no-import", "no-session", "wrong-answers", "another-layout"],
)
def test_an_upgrade_to_what_can_not_serve(own: Box, tmp_path: Path, broken: list[str]) -> None:
    """A version whose workers can't serve takes nothing from who reads: those of before serve on, the log says so,
    and the next version's follow them.
    """
    home = tmp_path / "code/lxcfs_py"
    shutil.copytree(Path(lxcfs_py.__file__).parent, home)
    holder = own.start_daemon(keeper="process", PYTHONPATH=str(home.parent))
    before = Processes(holder.pid, own.base)
    sound = {}
    for name, good, bad in map(BREAKAGES.__getitem__, broken):
        sound[home / name] = text = (home / name).read_text()
        assert good in text
        (home / name).write_text(text.replace(good, bad, 1))
    begin_anew(holder.pid, own.base)
    until(lambda: "those of before serve on" in own.log.read_text(), own, read=True)
    then = time.monotonic() + 1
    until(lambda: time.monotonic() > then, own, read=True)  # and while it is tried again
    now = Processes(holder.pid, own.base)
    assert set(before.workers) <= set(now.workers)
    assert now.supervisors not in ([], before.supervisors)
    layout = home / "daemon/session.py"
    for path, text in sound.items():
        if path != layout:  # the version after it has that layout, too
            path.write_text(text)
    until(
        lambda: not {*before.templates} & {*Processes(holder.pid, own.base).templates}, own, read=layout not in sound
    )
    until(lambda: len(Processes(holder.pid, own.base).workers) == len(before.workers), own, read=True)

"""The program a detached container is a child of, run on this machine and, emulated, on others."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.kernel import holder

CHILD = """import os, sys
sys.path.insert(0, sys.argv.pop())
from runtime.kernel import holder
source, sink = os.pipe()
place = sys.argv[1]
pid = os.fork()
if pid == 0:
    os.dup2(sink, 1)
    os.close(source); os.close(sink)
    os.execvp("sh", ["sh", "-c", sys.argv[2]])
os.close(sink)
flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
log, times, status = (os.open(f"{place}/{name}", flags) for name in ("log", "times", "exit"))
files = [os.open("/dev/null", os.O_RDWR), log, times, source, status]
length, after = int(os.environ["LENGTH"]), os.environ["AFTER"].split()
if len(sys.argv) > 3:
    files[1:1] = [files[0]] * 2
    for number, file in enumerate([os.dup(file) for file in files]):
        os.dup2(file, number)
    with open(f"{place}/program", "wb") as file:
        file.write(holder.image(pid, length, sys.argv[4]))
    os.chmod(f"{place}/program", 0o755)
    os.execv(sys.argv[3], [sys.argv[3], f"{place}/program", "test", *after])
os.dup2(0, 12)  # somebody's
holder.place(files, holder.make(pid, length))
holder.again("test", after, os.environ)
"""
OTHERS = [(path, "aarch64") for path in filter(None, [shutil.which("qemu-aarch64")])]
"""Machines that can be emulated here."""


def run(
    place: Path, script: str, *emulated: str, length: int = holder.ENDLESS, after: str = ""
) -> subprocess.Popen[bytes]:
    """Start a script below a holder; ``after`` is what that executes when its log has a length, and at the end."""
    command = [sys.executable, "-c", CHILD, str(place), script, *emulated, str(Path(__file__).parents[3])]
    return subprocess.Popen(command, env={**os.environ, "LENGTH": str(length), "AFTER": after})


def notes(place: Path) -> list[tuple[float, int]]:
    """Return the times and offsets it has noted."""
    found = struct.iter_unpack(holder.TIME, (place / "times").read_bytes())
    return [(seconds + nsec / 1e9, offset) for seconds, nsec, offset in found]


def test_it_keeps_what_is_written_and_the_end(tmp_path: Path) -> None:
    """The log is what was written, with the time of each piece; the status is the child's, and its own."""
    begun = time.time()
    found = run(
        tmp_path, f"printf one; until [ -s {tmp_path}/log ]; do sleep 0.01; done; sleep 0.1; printf two; exit 7"
    )
    assert found.wait(60) == 7
    assert (tmp_path / "log").read_bytes() == b"onetwo"
    assert holder.exit_code((tmp_path / "exit").read_bytes()) == 7
    (first, at), (second, then) = notes(tmp_path)
    assert (at, then) == (0, 3)
    assert begun <= first < first + 0.05 < second <= time.time()


def test_a_long_piece(tmp_path: Path) -> None:
    """More than it reads at once comes whole and in order."""
    assert run(tmp_path, "seq 1 200000").wait(60) == 0
    assert (tmp_path / "log").read_text() == "".join(f"{n}\n" for n in range(1, 200001))
    offsets = [offset for _, offset in notes(tmp_path)]
    assert offsets == sorted(offsets) and offsets[0] == 0


def test_a_signal(tmp_path: Path) -> None:
    """A child that was killed gives 128 and the signal's number; one that closes its output is waited for."""
    assert run(tmp_path, "exec >&-; kill -KILL $$").wait(60) == 128 + signal.SIGKILL
    assert holder.exit_code((tmp_path / "exit").read_bytes()) == 137


def test_it_is_small(tmp_path: Path) -> None:
    """It is the program in memory, called by its name, and next to nothing is resident."""
    found = run(tmp_path, "echo; exec sleep 600")
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    place = Path(f"/proc/{found.pid}")
    assert os.readlink(place / "exe") == f"/memfd:{holder.NAME} (deleted)"
    assert (place / "cmdline").read_bytes() == b"pyproc-holder\0test\0"
    assert sorted(map(int, os.listdir(place / "fd"))) == list(range(8))  # nothing of who has started it
    (resident,) = [
        line.split()[1] for line in (place / "status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    assert int(resident) <= 64
    (child,) = (place / "task" / str(found.pid) / "children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    assert found.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize("machine", [(), *OTHERS])
def test_every_machine(tmp_path: Path, machine: tuple[str, ...]) -> None:
    """The other machine's program does the same."""
    assert run(tmp_path, "printf one; kill -TERM $$", *machine).wait(60) == 128 + signal.SIGTERM
    assert (tmp_path / "log").read_bytes() == b"one"
    assert holder.exit_code((tmp_path / "exit").read_bytes()) == 143
    assert [offset for _, offset in notes(tmp_path)] == [0]


NEXT = """#!{} -IS
import os, sys
place, again = os.path.dirname(sys.argv[0]), {}
status = os.stat(f"{{place}}/exit").st_size
with open(f"{{place}}/calls", "a") as calls, open(f"{{place}}/log") as log, open(f"{{place}}/all", "a") as all_:
    calls.write(f"{{os.getpid()}} {{status}}\\n")
    if not status:
        all_.write(log.read())
if status:
    os._exit(33)
os.truncate(f"{{place}}/log", 0)
os.execv(again[0], [*again, "test", sys.argv[0]])
"""


@pytest.mark.parametrize("machine", [(), *OTHERS])
def test_what_it_leaves_to_others(tmp_path: Path, machine: tuple[str, ...]) -> None:
    """At a length, and at the end, it is another program: the same process, whose exit code counts."""
    program = tmp_path / "next"
    again = [machine[0], f"{tmp_path}/program"] if machine else ["/proc/self/fd/7"]
    program.write_text(NEXT.format(sys.executable, again))
    program.chmod(0o755)
    found = run(tmp_path, "seq 1 100000", *machine, length=100_000, after=str(program))
    assert found.wait(60) == 33
    whole = ((tmp_path / "all").read_bytes() + (tmp_path / "log").read_bytes()).split()
    assert whole == [b"%d" % n for n in range(1, 100_001)]
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert {pid for pid, _ in calls} == {str(found.pid)}
    assert [size for _, size in calls] == [*["0"] * (len(calls) - 1), "4"] and 3 <= len(calls) <= 7
    assert holder.exit_code((tmp_path / "exit").read_bytes()) == 0


@pytest.mark.parametrize("machine", [(), *OTHERS])
def test_what_can_not_be_executed(tmp_path: Path, machine: tuple[str, ...]) -> None:
    """Without the other program the log goes on, and the exit code is the child's."""
    assert run(tmp_path, "seq 1 100000; exit 7", *machine, length=1000, after="/nosuch").wait(60) == 7
    assert (tmp_path / "log").read_text() == "".join(f"{n}\n" for n in range(1, 100_001))


def test_no_status_yet() -> None:
    """Nothing is made of what is not there."""
    assert holder.exit_code(b"") is None
    assert set(holder.CODE) == {"x86_64", "aarch64"}

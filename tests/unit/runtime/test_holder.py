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
files = (os.open("/dev/null", os.O_RDWR), log, times, source, status)
if len(sys.argv) > 3:
    for number, file in enumerate([os.dup(file) for file in files]):
        os.dup2(file, number)
    with open(f"{place}/program", "wb") as file:
        file.write(holder.image(pid, sys.argv[4]))
    os.chmod(f"{place}/program", 0o755)
    os.execv(sys.argv[3], [sys.argv[3], f"{place}/program"])
holder.become(holder.make(pid), files, "test")
"""
OTHERS = [(path, "aarch64") for path in filter(None, [shutil.which("qemu-aarch64")])]
"""Machines that can be emulated here."""


def run(place: Path, script: str, *emulated: str) -> subprocess.Popen[bytes]:
    """Start a script below a holder."""
    top = str(Path(__file__).parents[3])
    return subprocess.Popen([sys.executable, "-c", CHILD, str(place), script, *emulated, top])


def notes(place: Path) -> list[tuple[float, int]]:
    """Return the times and offsets it has noted."""
    found = struct.iter_unpack(holder.TIME, (place / "times").read_bytes())
    return [(seconds + nsec / 1e9, offset) for seconds, nsec, offset in found]


def test_it_keeps_what_is_written_and_the_end(tmp_path: Path) -> None:
    """The log is what was written, with the time of each piece; the status is the child's, and its own."""
    begun = time.time()
    found = run(tmp_path, "printf one; sleep 0.1; printf two; exit 7")
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


def test_no_status_yet() -> None:
    """Nothing is made of what is not there."""
    assert holder.exit_code(b"") is None
    assert set(holder.CODE) == {"x86_64", "aarch64"}

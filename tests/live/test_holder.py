"""What a detached container's holder does when its log is full, and at the end, without a resident Python."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.kernel import holder
from tests.live.box import BIN, Box, sigkill
from tests.live.test_living import about, popen, until, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anywhere
NAME = "web"
ROTATED = ("-d", "--name", NAME, "--log-opt", "max-size=64k", "--log-opt")


@pytest.fixture(autouse=True)
def removed(clean: Box) -> Iterator[None]:
    """Remove what bears the name."""
    yield
    clean.pyproc("rm", "--force", NAME)


def files(box: Box) -> dict[str, int]:
    """Return the sizes of the container's log's files."""
    return {path.name: path.stat().st_size for path in (box.base / "storage/containers" / NAME).glob("log*")}


def count(last: int) -> list[str]:
    """Return the lines of seq(1)."""
    return [str(number) for number in range(1, last + 1)]


def test_an_end_that_nobody_waits_for(clean: Box) -> None:
    """Cgroups and the registration go when the command ends, by itself; state, files, log and exit code stay."""
    clean.run("-d", "--name", NAME, "--", "sh", "-c", "echo said; read x; exit 3")
    until(clean, lambda: not [path for path in clean.left() if "/cgroup/" in path or "run/lxcfs-py" in path])
    assert (clean.pyproc("logs", NAME).stdout, clean.pyproc("wait", NAME).stdout) == ("said\n", "3\n")


def test_started_by_a_relative_path(clean: Box) -> None:
    """The holder finds pyproc wherever whoever started it was."""
    command = ["./pyproc-run", *clean.places, "-d", "--rm", "--proc-view", "off", "--", "true"]
    subprocess.run(command, cwd=BIN, env=clean.environment, check=True, timeout=60 * clean.scale)
    until(clean, lambda: not clean.left())


def test_removed_at_the_end(clean: Box) -> None:
    """With -d --rm nothing is left when it has ended, nor its anonymous volume; who waits learns the exit code."""
    clean.run("-d", "-i", "--rm", "--name", NAME, "-v", "/kept", "--", "sh", "-c", "read x; exit 5")
    waiting = popen(clean, "wait", NAME)
    until(clean, lambda: any(os.path.basename(path) == "exit" for path in opened(waiting.pid)))
    assert clean.pyproc("start", NAME, check=False).returncode == 1
    with popen(clean, "attach", NAME, stdin=subprocess.PIPE) as attached:
        assert attached.stdin is not None
        attached.stdin.write(b"\n")
        attached.stdin.close()
        assert attached.wait(60 * clean.scale) == 5
    assert waiting.communicate(timeout=60 * clean.scale)[0] == b"5\n"
    until(clean, lambda: not clean.left())
    assert os.listdir(clean.base / "storage/volumes") == [".lock"]


def opened(pid: int) -> list[str]:
    """Return what a process has open."""
    try:
        return [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def test_removed_when_it_is_stopped(clean: Box) -> None:
    """So it goes with stop, and with a holder that was killed by the next start."""
    clean.run("-d", "--rm", "--name", NAME, "--", "sleep", "1000")
    clean.pyproc("stop", "-t", "0", NAME)
    assert clean.left() == []
    clean.run("-d", "--rm", "--name", NAME, "--", "sleep", "1000")
    sigkill(int(Path(about(clean, NAME)["Bundle"], "holder.pid").read_text().split()[0]))
    clean.pyproc("kill", NAME, "KILL")
    until(clean, lambda: clean.pyproc("list", "--filter", "status=exited", "-q").stdout)
    clean.run("--rm", "--", "true")
    assert clean.left() == []


def test_cleanup(clean: Box) -> None:
    """What a holder that was killed leaves to do is done by its verb; what runs is left alone."""
    clean.run("-d", "--name", NAME, "--", "sleep", "1000")
    refused = clean.pyproc("cleanup", NAME, check=False)
    assert (refused.returncode, "needs what it has: it is running" in refused.stderr) == (1, True)
    for descriptors in ((), ("--holder",)):
        assert clean.pyproc("cleanup", *descriptors, NAME, check=False).returncode == 1
    others = 'exec "$@" 3</etc/hosts 4</etc/hosts 5</etc/hosts 6</dev/null 7</etc/hosts'
    command = ["sh", "-c", others, "sh", str(BIN / "pyproc"), "cleanup", *clean.places, "--holder", NAME]
    done = subprocess.run(command, env=clean.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("not held by this process")) == (1, 1), done.stderr
    sigkill(int(Path(about(clean, NAME)["Bundle"], "holder.pid").read_text().split()[0]))
    clean.pyproc("kill", NAME, "KILL")
    until(clean, lambda: clean.pyproc("list", "--filter", "status=exited", "-q").stdout)
    assert [path for path in clean.left() if "/cgroup/" in path]
    clean.pyproc("cleanup", NAME)
    assert not [path for path in clean.left() if "/cgroup/" in path or "run/lxcfs-py" in path]


def test_a_log_that_is_rotated(clean: Box) -> None:
    """As many files stay as were asked for, the last of what was written is in them, and the holder is the same."""
    script = "seq 1 100000; echo end; read x; seq 100001 100002"
    clean.run("-i", *ROTATED, "max-file=3", "--", "sh", "-c", script)
    until(clean, lambda: clean.pyproc("logs", "-n", "1", NAME).stdout == "end\n")
    held = int(Path(about(clean, NAME)["Bundle"], "holder.pid").read_text().split()[0])
    until(clean, lambda: Path(f"/proc/{held}/cmdline").read_bytes().startswith(b"pyproc-holder\0web\0"))
    there = files(clean)
    assert sorted(there) == ["log", "log.1", "log.1.times", "log.2", "log.2.times", "log.times"]
    assert all(64 << 10 <= there[name] <= 128 << 10 for name in ("log.1", "log.2"))
    lines = clean.pyproc("logs", NAME).stdout.split()
    assert lines[-1] == "end" and lines[1:-1] == count(100000)[100002 - len(lines) :]
    assert clean.pyproc("logs", "-n", "20000", NAME).stdout.split() == lines[-20000:]
    assert len(clean.pyproc("logs", "-t", "--since", "10m", NAME).stdout.splitlines()) in (len(lines), len(lines) - 1)
    assert clean.pyproc("logs", "--since", "1s", "-n", "0", NAME).stdout == ""
    with popen(clean, "attach", NAME, stdin=subprocess.PIPE) as attached:
        assert attached.stdin is not None and attached.stdout is not None
        watching(clean, attached.pid)
        attached.stdin.write(b"\n")
        attached.stdin.close()
        assert attached.stdout.read() == b"100001\n100002\n"
    assert clean.pyproc("wait", NAME).stdout == "0\n"
    config = about(clean, NAME)["HostConfig"]["LogConfig"]
    assert config["Config"] == {"max-size": str(64 << 10), "max-file": "3"}
    clean.pyproc("start", NAME)  # its log goes on
    until(clean, lambda: clean.pyproc("logs", "-n", "1", NAME).stdout == "end\n")
    assert len([name for name in files(clean) if name.count(".") < 2]) <= 4 + 1


def test_renamed_before_its_holder_has_told_the_end(clean: Box) -> None:
    """The exit code is not lost: it is told of the new name."""
    clean.run("-d", "--name", "old", "--", "sleep", "1000")
    held = int(Path(about(clean, "old")["Bundle"], "holder.pid").read_text().split()[0])
    os.kill(held, signal.SIGSTOP)
    try:
        clean.pyproc("kill", "old", "KILL")
        until(clean, lambda: clean.pyproc("list", "--filter", "status=exited", "-q").stdout)
        clean.pyproc("rename", "old", NAME)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(held, signal.SIGCONT)
    assert clean.pyproc("wait", NAME).stdout == "137\n"


def full(held: int) -> int:
    """Return the length that a holder takes for full."""
    return int.from_bytes(Path(f"/proc/{held}/fd/{holder.PROGRAM}").read_bytes()[-8:], "little")


def said_last(box: Box, line: str) -> bool:
    """Say whether a line is the last of the log."""
    return box.pyproc("logs", "-n", "1", NAME).stdout == f"{line}\n"


def test_a_log_that_can_not_be_rotated(clean: Box) -> None:
    """It goes on, whole, and isn't tried to be rotated at every piece, but later again."""
    script = "read x; seq 1 60000; echo one; read x; seq 60001 120000; echo two; read x"
    clean.run("-i", *ROTATED, "max-file=9", "--", "sh", "-c", script)
    held = int(Path(about(clean, NAME)["Bundle"], "holder.pid").read_text().split()[0])
    assert full(held) == 64 << 10
    obstacle = clean.base / "storage/containers" / NAME / "log.new"
    obstacle.mkdir()
    for said in ("one", "two"):
        with popen(clean, "attach", NAME, stdin=subprocess.PIPE) as attached:
            assert attached.stdin is not None
            attached.stdin.write(b"\n")
            attached.stdin.flush()
            until(clean, partial(said_last, clean, said))
            attached.kill()
        there = [name for name in files(clean) if name.count(".") == 0 or name[4:].isdigit()]
        assert (len(there) > 1) == (said == "two")
        if said == "one":
            assert full(held) > 128 << 10
            obstacle.rmdir()
    assert full(held) == 64 << 10
    assert clean.pyproc("logs", NAME).stdout.split() == [*count(60000), "one", *count(120000)[60000:], "two"]


def test_a_log_that_is_followed_while_it_is_rotated(clean: Box) -> None:
    """Who follows misses nothing as long as files stay, and gets each line once."""
    paced = "n=0; while [ $n -lt 60 ]; do n=$((n+1)); seq $((n*1000-999)) $((n*1000)); sleep 0.02; done; read x"
    clean.run("-i", *ROTATED, "max-file=20", "--", "sh", "-c", paced)
    with popen(clean, "logs", "-f", NAME) as following:
        until(clean, lambda: clean.pyproc("logs", "-n", "1", NAME).stdout == "60000\n")
        clean.pyproc("stop", "-t", "0", NAME)
        assert following.communicate(timeout=60 * clean.scale)[0].decode().split() == count(60000)
    assert len(files(clean)) > 4


def test_one_file(clean: Box) -> None:
    """A log of one file begins anew in its place."""
    clean.run(*ROTATED, "max-file=1", "--", "sh", "-c", "seq 1 50000; echo end")
    assert clean.pyproc("wait", NAME).stdout == "0\n"
    until(clean, lambda: not [path for path in clean.left() if "/cgroup/" in path])
    there = files(clean)
    assert sorted(there) == ["log", "log.times"] and there["log"] <= 128 << 10
    assert clean.pyproc("logs", NAME).stdout.split()[-1:] in (["end"], [])


def test_a_log_that_others_cut(clean: Box) -> None:
    """It is written to its end, so that logrotate's copytruncate leaves no hole."""
    clean.run("-d", "-i", "--name", NAME, "--", "sh", "-c", "echo one; read x; echo two")
    until(clean, lambda: clean.pyproc("logs", NAME).stdout == "one\n")
    log = clean.base / "storage/containers" / NAME / "log"
    os.truncate(log, 0)
    with popen(clean, "attach", NAME, stdin=subprocess.PIPE) as attached:
        assert attached.stdin is not None
        attached.stdin.write(b"\n")
    assert log.read_bytes() == b"two\n"


def test_its_environment(clean: Box) -> None:
    """The holder has of its starter's environment what it needs at the end, and no secret."""
    clean.run("-d", "--name", NAME, "--", "sleep", "1000", SECRET="s3cret")
    place = Path("/proc", Path(about(clean, NAME)["Bundle"], "holder.pid").read_text().split()[0])
    assert b"s3cret" not in (place / "environ").read_bytes()
    assert (place / "cmdline").read_bytes().split(b"\0")[2:4] == [str(BIN / "pyproc").encode(), b"cleanup"]
    assert os.readlink(place / "exe") == f"/memfd:{holder.NAME} (deleted)"
    assert json.loads(clean.pyproc("ps", "--json").stdout)[0]["id"] == NAME

"""Living with containers: end them, start them again, look and reach into them."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.procfs import pid_stat
from tests.live.box import BIN, Box

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anywhere


def until(box: Box, what: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60 * box.scale
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def about(box: Box, name: str) -> dict[str, Any]:
    """Return what inspect says of a container."""
    (found,) = json.loads(box.pyproc("inspect", name).stdout)
    assert isinstance(found, dict)
    return found


def logged(box: Box, name: str) -> str:
    """Return its log."""
    return box.pyproc("logs", name).stdout


def popen(box: Box, verb: str, *arguments: str, **how: Any) -> subprocess.Popen[bytes]:
    """Start one of pyproc's verbs."""
    how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **how}
    return subprocess.Popen([BIN / "pyproc", verb, *box.places, *arguments], env=box.environment, **how)


def test_again(clean: Box, name: str) -> None:
    """A detached container's exit code is known; started again it has its files, its limits, its view and its log."""
    script = "echo begun $(cat /root/n 2>&1); echo x >> /root/n; grep MemTotal /proc/meminfo; exit 3"
    clean.run("-d", "--name", name, "-m", "64m", "--", "sh", "-c", script)
    assert clean.pyproc("wait", name).stdout == "3\n"
    assert clean.pyproc("start", name).stdout == f"{name}\n"
    assert clean.pyproc("wait", name).stdout == "3\n"
    lines = logged(clean, name).splitlines()
    assert lines[2:] == ["begun x", "MemTotal:          65536 kB"] and lines[1] == lines[3]
    attended = clean.pyproc("start", "-a", name, check=False)
    assert (attended.returncode, attended.stdout) == (3, "begun x x\nMemTotal:          65536 kB\n")
    found = about(clean, name)["State"]
    assert (found["Status"], found["ExitCode"]) == ("exited", 3)
    assert "Exited (3) " in clean.pyproc("ps", "-a").stdout and name not in clean.pyproc("ps").stdout
    stamped = clean.pyproc("logs", "-t", "--tail", "1", name).stdout
    assert stamped.partition(" ")[2] == "MemTotal:          65536 kB\n"
    assert stamped[:10] == time.strftime("%Y-%m-%d", time.gmtime())


def test_stop_and_restart(clean: Box, name: str) -> None:
    """It is asked by its own signal, killed when it does not listen, and another after a restart."""
    script = "trap 'echo asked; exit 4' USR1; echo ready; while :; do sleep 0.05; done"
    clean.run("-d", "--name", name, "--stop-signal", "USR1", "--", "sh", "-c", script)
    until(clean, lambda: "ready" in logged(clean, name))
    first = about(clean, name)["State"]["Pid"]
    clean.pyproc("restart", name)
    until(clean, lambda: logged(clean, name).count("ready") == 2)
    assert about(clean, name)["State"]["Pid"] not in (0, first)
    assert clean.pyproc("stop", name).stdout == f"{name}\n"
    assert (clean.pyproc("wait", name).stdout, logged(clean, name)) == ("4\n", "ready\nasked\n" * 2)
    assert clean.pyproc("stop", name).stdout == f"{name}\n"  # it has ended: nothing to do
    clean.pyproc("start", name)
    until(clean, lambda: logged(clean, name).count("ready") == 3)
    clean.pyproc("stop", "-s", "CONT", "-t", "200ms", name)
    assert clean.pyproc("wait", name).stdout == "137\n"
    assert not [path for path in clean.left() if "/cgroup/" in path]  # an ended one needs none


def test_stop_of_a_paused_one(clean: Box, name: str) -> None:
    """What is paused ends, too."""
    for each in (name, "other"):
        clean.run("-d", "--name", each, "--", "sleep", "1000")
    clean.pyproc("pause", name, "other")
    assert clean.pyproc("ps", "-q", "--filter", "status=paused").stdout.split() == ["other", name]
    clean.pyproc("stop", "-t", "0", name)
    assert json.loads(clean.pyproc("wait", "--json", name).stdout) == {"id": name, "exitCode": 137}
    clean.pyproc("unpause", "other")
    clean.pyproc("rm", "-f", "other")


def read(master: int, box: Box, wanted: bytes) -> bytes:
    """Return what a terminal shows until it shows something."""
    shown, deadline = b"", time.monotonic() + 60 * box.scale
    while wanted not in shown:
        assert select.select([master], [], [], max(0, deadline - time.monotonic()))[0], shown
        shown += os.read(master, 65536)
    return shown


def test_attach_to_a_terminal(clean: Box, name: str) -> None:
    """A detached shell is typed to, left by Ctrl-P Ctrl-Q, joined again, and its exit code is attach's."""
    clean.run("-d", "-it", "--name", name, "--", "sh", "-c", "PS1='> '; export PS1; exec sh")
    for keys, shown, code in ((b"echo $((40+2))\r", b"42\r\n", 0), (b"exit 5\r", b"exit 5\r\n", 5)):
        master, slave = pty.openpty()
        attached = popen(clean, "attach", name, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        watching(clean, attached.pid)
        os.write(master, keys)
        read(master, clean, shown)
        os.write(master, b"\x10\x11") if code == 0 else None
        assert attached.wait(60 * clean.scale) == code
        os.close(master)
    assert "42" in logged(clean, name)


def watching(box: Box, pid: int) -> None:
    """Wait until a process is told when files change."""
    until(box, lambda: b"inotify" in b"".join(links(pid)))


def links(pid: int) -> list[bytes]:
    """Return what a process has open."""
    try:
        place = f"/proc/{pid}/fd"
        return [os.fsencode(os.readlink(f"{place}/{number}")) for number in os.listdir(place)]
    except FileNotFoundError:
        return []


def test_attach_to_an_input(clean: Box, name: str) -> None:
    """Without a terminal lines go in and come out, and the end of one who typed is not the end of the input."""
    clean.run("-d", "-i", "--name", name, "--", "sh", "-c", "while read x; do echo got $x; done")
    for word in (b"one", b"two"):
        attached = popen(clean, "attach", name, stdin=subprocess.PIPE)
        assert attached.stdin is not None and attached.stdout is not None
        watching(clean, attached.pid)
        attached.stdin.write(word + b"\n")
        attached.stdin.close()
        assert attached.stdout.readline() == b"got " + word + b"\n"
        attached.kill()
        attached.wait()
        attached.stdout.close()
    assert about(clean, name)["State"]["Running"]


def test_a_holder_that_was_killed(clean: Box, name: str) -> None:
    """Without its holder a container runs on; what the holder did is refused by a reason."""
    clean.run("-d", "--name", name, "--", "sleep", "1000")
    pid = about(clean, name)["State"]["Pid"]
    stat = pid_stat.parse(Path(f"/proc/{pid}/stat").read_bytes())
    assert stat is not None
    assert int(Path(about(clean, name)["Bundle"], "holder.pid").read_text().split()[0]) == stat.ppid
    os.kill(stat.ppid, signal.SIGKILL)
    until(clean, lambda: not Path(f"/proc/{stat.ppid}/exe").exists())
    refused = clean.pyproc("attach", name, check=False)
    assert (refused.returncode, "nothing holds its streams" in refused.stderr) == (1, True)
    clean.pyproc("stop", "-t", "0", name)
    refused = clean.pyproc("wait", name, check=False)
    assert (refused.returncode, "exit code is not known" in refused.stderr) == (1, True)
    clean.pyproc("start", name)


def test_logs_that_are_followed(clean: Box, name: str) -> None:
    """Following ends with the container, and nothing it wrote last is missing."""
    clean.run("-d", "--name", name, "--", "sh", "-c", "echo first; exec sleep 1000")
    until(clean, lambda: logged(clean, name) == "first\n")
    following = popen(clean, "logs", "-f", "-n", "1", name)
    clean.pyproc("stop", "-t", "0", name)
    assert following.communicate(timeout=60 * clean.scale)[0] == b"first\n"
    clean.run("-d", "--name", f"{name}2", "--", "sh", "-c", "sleep 0.2; seq 30000")
    following = popen(clean, "logs", "-f", f"{name}2")
    assert following.communicate(timeout=60 * clean.scale)[0].split() == [b"%d" % n for n in range(1, 30001)]
    clean.pyproc("rm", f"{name}2")


def test_events(clean: Box, name: str) -> None:
    """What happens to a container is told in order, by Docker's words, with the exit code."""
    with popen(clean, "events", "--json", "--filter", f"container={name}") as told:
        assert told.stdout is not None
        watching(clean, told.pid)
        clean.run("-d", "--name", name, "--", "sleep", "1000")
        words = [json.loads(told.stdout.readline())["event"] for _ in range(2)]
        for verb in ("pause", "unpause"):
            clean.pyproc(verb, name)
            words.append(json.loads(told.stdout.readline())["event"])
        clean.pyproc("stop", "-t", "0", name)
        died = json.loads(told.stdout.readline())
        clean.pyproc("rm", name)
        words += [died["event"], json.loads(told.stdout.readline())["event"]]
        told.kill()
    assert words == ["create", "start", "pause", "unpause", "die", "destroy"]
    assert died["attributes"] == {"exitCode": 137}


def test_figures(clean: Box, name: str) -> None:
    """stats tells CPU and memory against the limits, info the counts and the daemon, top the processes."""
    clean.run("-d", "--name", name, "-m", "64m", "--cpus", "1", "--", "sh", "-c", "while :; do :; done")
    (found,) = json.loads(clean.pyproc("stats", "--no-stream", "--json", name).stdout)
    assert (found["memory_limit_bytes"], found["cpus"], found["pids"]) == (64 << 20, 1, 1)
    assert 0 < found["cpu_percent"] < 130 and 0 < found["memory_bytes"] < 64 << 20
    picture = clean.pyproc("stats", "--no-stream", "--graph", name).stdout
    assert f"{name}: CPU " in picture and "of 67.1 MB" in picture and "100% ┤" in picture
    info = json.loads(clean.pyproc("info", "--json").stdout)
    assert (info["containers"]["running"], info["containers"]["total"], info["daemon"]["serves"]) == (1, 1, True)
    pid = about(clean, name)["State"]["Pid"]
    assert json.loads(clean.pyproc("top", "--json", name).stdout) == [pid]
    assert clean.pyproc("ps", "-q", "--filter", "status=running").stdout == f"{name}\n"
    assert clean.pyproc("ps", "-q", "--filter", "name=other").stdout == ""


def test_names(clean: Box, name: str) -> None:
    """An ended container is renamed with all it has; a name that is taken is refused."""
    clean.run("-d", "--name", "old", "--", "sh", "-c", "echo said; echo x > /root/f; sleep 1000")
    until(clean, lambda: logged(clean, "old"))
    clean.pyproc("stop", "-t", "0", "old")
    clean.pyproc("rename", "old", name)
    assert clean.ids() == [name]
    assert (clean.pyproc("wait", name).stdout, logged(clean, name)) == ("137\n", "said\n")
    clean.pyproc("start", name)
    assert clean.pyproc("exec", name, "cat", "/root/f").stdout == "x\n"
    clean.run("-d", "--name", "other", "--", "true")
    clean.pyproc("wait", "other")
    refused = clean.pyproc("rename", "other", name, check=False)
    assert (refused.returncode, "is taken" in refused.stderr) == (125, True)
    assert json.loads(clean.pyproc("prune", "--containers", "--json").stdout)["containers"] == ["other"]


def test_wrong_states(clean: Box, name: str) -> None:
    """What can't be done now is refused in a sentence that names the container."""
    clean.run("-d", "--name", name, "--", "sleep", "1000")
    for verb, text in (
        ("start", "it has been started"),
        ("resume", "it is running"),
        ("rm", "is running, not stopped"),
    ):
        refused = clean.pyproc(verb, name, check=False)
        assert refused.returncode and repr(name) in refused.stderr and text in refused.stderr
    clean.pyproc("stop", "-t", "0", name)
    for verb in ("attach", "top", "stats", "kill", "pause"):
        refused = clean.pyproc(verb, name, check=False)
        assert refused.returncode and repr(name) in refused.stderr and refused.stderr.count("\n") == 1

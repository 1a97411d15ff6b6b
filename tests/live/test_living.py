"""Living with containers: end them, start them again, look and reach into them."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.procfs import pid_stat
from runtime.kernel.removal import remove_tree
from tests.live.box import BIN, Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@pytest.fixture
def name(clean: Box, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield a name, and remove what bears it."""
    yield "web"
    clean.pyproc("rm", "--force", "web")


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


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a directory with a tree to copy, and one to copy to."""
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/f").write_text("text")
    (tmp_path / "in/sub/f").chmod(0o640)
    os.chown(tmp_path / "in/sub/f", 7, 8)
    os.symlink("/etc/shadow", tmp_path / "in/link")
    os.link(tmp_path / "in/sub/f", tmp_path / "in/other")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize("running", [True, False])
def test_copies(clean: Box, name: str, files: Path, running: bool) -> None:
    """Trees go in and come out as they were, running or not; links stay links, owners are root's unless kept."""
    clean.run("-d", "--name", name, "--", "sleep", "1000" if running else "0")
    if not running:
        clean.pyproc("wait", name)
    clean.pyproc("cp", str(files / "in"), f"{name}:/root/new")
    clean.pyproc("cp", f"{files}/in/.", f"{name}:/root/new")
    clean.pyproc("cp", "-a", f"{files}/in", f"{name}:/root/new")
    clean.pyproc("cp", f"{name}:/root/new", str(files / "out"))
    for place, owner in (("out/new", 0), ("out/new/in", 0)):
        there = files / place
        assert (there / "sub/f").read_text() == "text" and os.readlink(there / "link") == "/etc/shadow"
        found = (there / "sub/f").stat()
        assert (found.st_mode & 0o7777, found.st_uid, found.st_ino) == (0o640, owner, (there / "other").stat().st_ino)
    clean.pyproc("cp", "-a", f"{name}:/root/new/in/sub/f", str(files / "out/kept"))
    assert ((files / "out/kept").stat().st_uid, (files / "out/kept").stat().st_gid) == (7, 8)
    with popen(clean, "cp", f"{name}:/root/new/sub", "-") as sent:
        assert sent.stdout is not None
        with tarfile.open(fileobj=sent.stdout, mode="r|") as tar:
            assert [member.name for member in tar] == ["sub", "sub/f"]
    for source, target, text in (
        (f"{name}:/none", str(files), "none"),
        (str(files / "in"), f"{name}:/root/new/other", "no directory can replace"),
        (f"{files}/in/other", f"{name}:/no/such/", "no such directory"),
        (f"{name}:/root/new", f"{name}:/x", "two containers"),
    ):  # fmt: skip
        refused = clean.pyproc("cp", source, target, check=False)
        assert refused.returncode and text in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr


def test_copies_of_what_is_hostile(clean: Box, name: str, files: Path) -> None:
    """No link of the container leads out of it, no device of it comes to the host, and no tar climbs."""
    secret = files / "secret"
    secret.mkdir()
    (secret / "s").write_text("the host's")
    script = f"ln -s {secret} /root/out; mknod /root/null c 1 3; chmod u+s /usr/bin/env 2>&-; sleep 1000"
    clean.run("-d", "--name", name, "--", "sh", "-c", script)
    until(clean, lambda: clean.pyproc("exec", name, "test", "-e", "/root/null", check=False).returncode == 0)
    assert clean.pyproc("cp", f"{name}:/root/out/s", str(files / "out"), check=False).returncode == 1
    assert clean.pyproc("cp", "-L", f"{name}:/root/out", str(files / "out"), check=False).returncode == 1
    clean.pyproc("cp", f"{files}/in/other", f"{name}:/root/out/x", check=False)
    assert os.listdir(secret) == ["s"]
    refused = clean.pyproc("cp", f"{name}:/root/null", str(files / "out"), check=False)
    assert (refused.returncode, "a device, which would be the host's" in refused.stderr) == (1, True)
    assert os.listdir(files / "out") == []
    for member in ("../up", "/abs"):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(member))
        given = popen(clean, "cp", "-", f"{name}:/tmp", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        _, said = given.communicate(data.getvalue(), timeout=60 * clean.scale)
        assert given.returncode == 1 and member.encode() in said


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
    """An ended container is renamed with all it has; one that runs, or a name that is taken, is refused."""
    clean.run("-d", "--name", "old", "--", "sh", "-c", "echo said; echo x > /root/f; sleep 1000")
    until(clean, lambda: logged(clean, "old"))
    refused = clean.pyproc("rename", "old", name, check=False)
    assert (refused.returncode, "can't be renamed: it is running" in refused.stderr) == (1, True)
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


@pytest.mark.parametrize("how", ["fail", "kill"])
def test_cut_off_while_it_starts_again(clean: Box, name: str, how: str) -> None:
    """Whatever step a start again ends at, the container is there, ended, and starts the next time with its files."""
    clean.run("-d", "--name", name, "--proc-view", "off", "--", "sh", "-c", "echo x >> /root/n")
    clean.pyproc("wait", name)
    for count, step in enumerate((0, 1, 2, 3, 4, 12, 30, 60), 2):
        command = [str(BIN / "pyproc"), "start", *clean.places, name]
        stop = {"PYPROC_TEST_STOP": f"{how}:{step}"}
        done = subprocess.run(
            command, env={**clean.environment, **stop}, stdin=-3, capture_output=True, timeout=60 * clean.scale
        )
        assert done.returncode not in (0, 1), (step, done)
        clean.run("--rm", "--proc-view", "off", "--", "true")  # sweeps what was begun and never was
        assert clean.ids() == [name], step
        assert clean.pyproc("start", "-a", name).returncode == 0, step
        clean.pyproc("cp", f"{name}:/root/n", str(clean.base / "n"))
        assert (clean.base / "n").read_text() == "x\n" * count


def test_a_start_that_is_cut_off_before_its_command(clean: Box, name: str) -> None:
    """Killed between making a container and starting it, pyproc-run leaves none that waits for ever."""
    plan = clean.run("--dry-run", "--proc-view", "off", "--", "sleep", "60").stdout.splitlines()
    assert plan[-1] == "execve sleep 60" and "filter" in plan[-2]
    stop = {"PYPROC_TEST_STOP": f"kill:{len(plan) - 2}"}
    done = clean.run("-d", "--name", name, "--proc-view", "off", "--", "sleep", "60", check=False, **stop)
    assert done.returncode == 137
    until(clean, lambda: json.loads(clean.pyproc("list", "--json").stdout)[0]["status"] == "stopped")
    clean.run("--rm", "--proc-view", "off", "--", "true")
    assert clean.left() == []


def test_after_a_boot(clean: Box, name: str) -> None:
    """Whatever verb asks first knows a container whose state went with the boot."""
    clean.run("-d", "--name", name, "--", "sh", "-c", "echo said; echo x > /root/f")
    clean.pyproc("wait", name)
    until(clean, lambda: not [path for path in clean.left() if "/cgroup/" in path])
    for verb, operands, shown in (
        ("inspect", (name,), '"Status": "exited"'),
        ("logs", (name,), "said"),
        ("diff", (name,), "A /root/f"),
        ("state", (name,), "stopped"),
        ("stop", (name,), name),
        ("cp", (f"{name}:/root/f", str(clean.base / "f")), ""),
        ("generate", ("systemd", name), "ExecStart"),
        ("rename", (name, "other"), ""),
        ("rename", ("other", name), ""),
        ("start", (name,), name),
    ):
        remove_tree(f"{clean.base}/state/{name}")
        assert shown in clean.pyproc(verb, *operands).stdout, verb
    clean.pyproc("wait", name)
    until(clean, lambda: not [path for path in clean.left() if "/cgroup/" in path])
    for verb, text in (("commit", "has no image"), ("wait", "exit code is not known"), ("update", "it is stopped")):
        remove_tree(f"{clean.base}/state/{name}")
        refused = clean.pyproc(verb, name, check=False)
        assert (refused.returncode, text in refused.stderr) == (1, True), refused.stderr
    remove_tree(f"{clean.base}/state/{name}")
    clean.pyproc("rm", name)


def test_a_start_in_the_background_that_is_cut_off(clean: Box) -> None:
    """A detached start that fails or is killed says so by its exit code, and leaves nothing."""
    for step in (0, 3, 40):
        done = clean.run(
            "-d", "--proc-view", "off", "--", "sleep", "60", check=False, PYPROC_TEST_STOP=f"fail:{step}"
        )
        assert (done.returncode, f"step {step}" in done.stderr, clean.left()) == (125, True, []), done.stderr
        done = clean.run(
            "-d", "--proc-view", "off", "--", "sleep", "60", check=False, PYPROC_TEST_STOP=f"kill:{step}"
        )
        assert done.returncode == 137, done.stderr
        until(clean, lambda: not clean.left() or (clean.run("--rm", "--proc-view", "off", "--", "true") and None))

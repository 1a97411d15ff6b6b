"""Containers that get another name while they run: nobody who knows the former one loses them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from runtime import claims
from tests.live.box import Box, sigkill
from tests.live.test_living import about, links, logged, popen, until, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anywhere
OLD, NEW = "old", "new"
LOOP = "echo begun; until [ -e /root/end ]; do sleep 0.02; done; echo ended; exit 7"


def end(box: Box) -> None:
    """Have the loop end, which may kill who says so before it has."""
    assert box.pyproc("exec", NEW, "touch", "/root/end", check=False).returncode in (0, 137)


@pytest.fixture
def named(clean: Box) -> Iterator[Box]:
    """Yield the box, and remove what bears one of the names; no name is left that leads somewhere."""
    yield clean
    for name in (OLD, NEW, "newer"):
        clean.pyproc("rm", "--force", name)
    for place in ("state", "storage/containers"):
        assert (
            not [entry.name for entry in os.scandir(clean.base / place) if entry.is_symlink()]
            if (clean.base / place).exists()
            else True
        )


def start(box: Box, *options: str, script: str = LOOP) -> int:
    """Start it, and return its pid."""
    box.run("-d", "--name", OLD, "-m", "64m", *options, "--", "sh", "-c", script)
    until(box, lambda: logged(box, OLD))
    return int(about(box, OLD)["State"]["Pid"])


def test_it_goes_on(named: Box) -> None:
    """All verbs know it by its new name, what was begun by the former one goes on, and its end is noticed."""
    pid = start(named)
    follower, waiter = popen(named, "logs", "-f", OLD), popen(named, "wait", OLD)
    watching(named, follower.pid)
    until(named, lambda: b"pidfd" in b"".join(links(waiter.pid)))
    with popen(named, "events", "--json") as told:
        assert told.stdout is not None
        watching(named, told.pid)
        named.pyproc("rename", OLD, NEW)
        event = json.loads(told.stdout.readline())
        told.kill()
    assert (event["event"], event["id"], event["attributes"]) == ("rename", NEW, {"oldName": OLD})
    found = about(named, NEW)
    assert (found["State"]["Pid"], found["Name"], named.ids()) == (pid, f"/{NEW}", [NEW])
    assert found["LogPath"] == str(named.base / "storage/containers/new/log")
    gone = named.pyproc("inspect", OLD, check=False)
    assert (gone.returncode, "does not exist" in gone.stderr) == (1, True)
    assert named.pyproc("exec", NEW, "grep", "MemTotal", "/proc/meminfo").stdout.split()[1] == "65536"
    named.pyproc("update", "-m", "32m", "--memory-swap", "64m", NEW)
    assert named.pyproc("exec", NEW, "grep", "MemTotal", "/proc/meminfo").stdout.split()[1] == "32768"
    named.pyproc("pause", NEW)
    named.pyproc("unpause", NEW)
    assert json.loads(named.pyproc("stats", "--no-stream", "--json").stdout)[0]["id"] == NEW
    end(named)
    assert follower.communicate(timeout=60 * named.scale)[0] == b"begun\nended\n"
    assert waiter.communicate(timeout=60 * named.scale)[0] == b"7\n"
    assert named.pyproc("wait", NEW).stdout == "7\n"
    until(named, lambda: [path for path in named.left() if OLD in path] == [])
    named.pyproc("exec", NEW, "true", check=False)
    named.pyproc("start", NEW)
    until(named, lambda: logged(named, NEW) == "begun\nended\n" * 2)  # what it wrote is there


def test_the_former_name(named: Box) -> None:
    """It is nobody's until the end of who was started by it, and then anybody's, whom that one's removal spares."""
    start(named)
    named.pyproc("rename", OLD, NEW)
    refused = named.run("-d", "--name", OLD, "--", "true", check=False)
    assert refused.returncode == 125 and "'old' is not free yet: container 'new' was started by it" in refused.stderr
    for name in (NEW, OLD):
        refused = named.pyproc("rename", NEW, name, check=False)
        assert refused.returncode == 125 and "the name" in refused.stderr
    named.pyproc("rename", NEW, "newer")
    assert named.run("-d", "--name", NEW, "--", "true", check=False).returncode == 125
    named.pyproc("stop", "-t", "0", "newer")
    named.run("-d", "--name", OLD, "--", "sleep", "1000")
    named.run("-d", "--name", NEW, "--", "sleep", "1000")
    named.pyproc("rm", "newer")
    states = {name: about(named, name)["State"]["Status"] for name in (OLD, NEW)}
    assert states == {OLD: "running", NEW: "running"}


@pytest.mark.parametrize("how", ["killed", "removed", "holder"])
def test_the_end_of_a_renamed_one(named: Box, how: str) -> None:
    """Killed, removed by force, or without a holder: nothing of it is left, by neither name."""
    pid = start(named, *(["--rm"] if how == "killed" else []), script="echo begun; exec sleep 1000")
    named.pyproc("rename", OLD, NEW)
    if how == "holder":
        sigkill(int((named.base / "state/new/holder.pid").read_text().split()[0]))
        sigkill(pid)
        until(named, lambda: about(named, NEW)["State"]["Status"] == "exited")
        named.pyproc("cleanup", NEW)
        assert not [path for path in named.left() if path.endswith(OLD)]
    elif how == "killed":
        sigkill(pid)
        until(named, lambda: named.left() == [])
    else:
        named.pyproc("rm", "--force", NEW)
        assert named.left() == []


def test_one_that_is_attended(named: Box) -> None:
    """Who has started it in the foreground finds it at its end, and notes how it was; who waits is told that."""
    command = named.command("--name", OLD, "--", "sh", "-c", "echo begun; exec sleep 1000")
    with subprocess.Popen(command, env=named.environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as run:
        assert run.stdout is not None and run.stdout.readline() == b"begun\n"
        waiter = popen(named, "wait", OLD)
        until(named, lambda: b"pidfd" in b"".join(links(waiter.pid)))
        named.pyproc("rename", OLD, NEW)
        os.kill(about(named, NEW)["State"]["Pid"], signal.SIGKILL)
        assert run.wait(60 * named.scale) == 137
        assert waiter.communicate(timeout=60 * named.scale)[0] == b"137\n"
    assert named.pyproc("wait", NEW).stdout == "137\n"
    assert [path for path in named.left() if OLD in path] == []


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("done", ["name", "storage"])
def test_cut_off(named: Box, done: str, *, runs: bool) -> None:
    """Killed after any step, it has the new name and its files, and the former one is anybody's after its end."""
    start(named, script=f"echo x >> /root/n; {LOOP}")
    if not runs:
        named.pyproc("stop", "-t", "0", OLD)
    for place in ("state", "storage/containers")[: ("name", "storage").index(done) + 1]:
        claims.rename(str(named.base / place), OLD, NEW)
    assert about(named, NEW)["Name"] == f"/{NEW}" and named.ids() == [NEW]
    if runs:
        end(named)
        assert named.pyproc("wait", NEW).stdout == "7\n"
        until(named, lambda: not (named.base / "state" / OLD).is_symlink())
    named.pyproc("start", NEW)
    named.run("-d", "--name", OLD, "--", "sleep", "1000")
    until(named, lambda: named.pyproc("exec", NEW, "cat", "/root/n", check=False).stdout == "x\nx\n" or runs)
    named.pyproc("rm", "--force", NEW)
    assert named.pyproc("exec", OLD, "echo", "here").stdout == "here\n"
    assert [entry.name for entry in os.scandir(named.base / "storage/containers")] == [OLD]


def test_names_that_lead_nowhere(named: Box) -> None:
    """A name that the storage of one that is gone was called by is free, and whoever ended is known by no other."""
    (named.base / "storage/containers").mkdir(parents=True, exist_ok=True)
    (named.base / "storage/containers" / NEW).symlink_to("nobody")
    named.run("--name", OLD, "--", "true")
    named.pyproc("rename", OLD, NEW)
    assert (named.ids(), named.pyproc("start", "-a", NEW).returncode) == ([NEW], 0)
    link = named.base / "state" / OLD
    link.symlink_to(NEW)
    os.utime(link, (0, 0), follow_symlinks=False)
    named.run("--name", "newer", "--", "true")  # sees to it
    assert named.run("--name", OLD, "--", "true").returncode == 0


def test_the_same_name_elsewhere(named: Box) -> None:
    """What has ended has no cgroup any more: whoever has that by now, by another --root, is spared."""
    other = ("--root", str(named.base / "elsewhere"), "--storage", str(named.base / "elsewhere/storage"))
    named.run("--name", OLD, "--", "true")
    named.run(*other, "-d", "--name", OLD, "--", "sleep", "1000")
    try:
        named.pyproc("rm", OLD)
        assert json.loads(named.pyproc("list", *other, "--json").stdout)[0]["status"] == "running"
    finally:
        named.pyproc("rm", *other, "--force", OLD)


def test_its_log_goes_on(named: Box) -> None:
    """Its holder, which knows it by the former name, begins a new log where the others are."""
    script = "echo begun; until [ -e /root/end ]; do sleep 0.02; done; seq 30000; echo ended; exec sleep 1000"
    start(named, "--log-opt", "max-size=64k", "--log-opt", "max-file=2", script=script)
    named.pyproc("rename", OLD, NEW)
    end(named)
    until(named, lambda: logged(named, NEW).endswith("ended\n"))
    assert (named.base / "storage/containers/new/log.1").stat().st_size >= 64 << 10


@pytest.mark.needs_inet
def test_in_a_network(named: Box) -> None:
    """Its address and its ports stay until its end, and are free then."""
    start(named, "--network", "bridge", "-p", "127.0.0.1::80")
    before = named.pyproc("port", OLD).stdout
    named.pyproc("rename", OLD, NEW)
    assert named.pyproc("port", NEW).stdout == before != ""
    assert about(named, NEW)["NetworkSettings"]["IPAddress"]
    assert before.split()[-1] in named.pyproc("ps", "--format", "{{.Ports}}").stdout
    named.pyproc("stop", "-t", "0", NEW)
    assert named.pyproc("port", NEW).stdout == ""

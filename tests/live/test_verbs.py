"""``pyproc``'s verbs, over containers that ``pyproc-run`` has started."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lxcfs_py.served import BOUND
from tests.live.apart import Apart
from tests.live.box import BIN, Box

pytestmark = pytest.mark.anywhere  # words


def status(box: Box, name: str) -> dict[str, object]:
    """Return a container's state."""
    found = json.loads(box.pyproc("state", name).stdout)
    assert isinstance(found, dict)
    return found


def until_stopped(box: Box, name: str) -> None:
    """Wait for its end."""
    deadline = time.monotonic() + 20 * box.scale
    while status(box, name)["status"] != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_life(clean: Box) -> None:
    """A detached container is listed, told of in OCI's words, killed, still listed, and gone when it is deleted."""
    assert clean.run("-d", "--name", "one", "--", "sleep", "1000").stdout == "one\n"
    found = status(clean, "one")
    assert (found["id"], found["status"], found["ociVersion"]) == ("one", "running", found["ociVersion"])
    with open(f"/proc/{found['pid']}/cmdline") as file:
        assert file.read() == "sleep\0001000\0"
    assert re.search(rf"^one +{found['pid']} +running +\S+ +sleep 1000$", clean.pyproc("list").stdout, re.M)
    assert [item["id"] for item in json.loads(clean.pyproc("list", "--format", "json").stdout)] == ["one"]
    refused = clean.pyproc("delete", "one", check=False)
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    clean.pyproc("kill", "one", "KILL")
    until_stopped(clean, "one")
    assert clean.ids() == ["one"]
    clean.pyproc("rm", "one")
    assert clean.ids() == []
    missing = clean.pyproc("state", "one", check=False)
    assert (missing.returncode, "'one'" in missing.stderr, missing.stderr.count("\n")) == (1, True, 1)


def test_logs(clean: Box) -> None:
    """What a detached container writes, to either stream, is in its log."""
    name = clean.start("--", "sh", "-c", "echo out; echo err >&2")
    until_stopped(clean, name)
    assert clean.pyproc("logs", name).stdout == "out\nerr\n"
    clean.pyproc("delete", name)


def test_exec(clean: Box) -> None:
    """`exec` lands in the cgroups, sees the same files, and its exit code is the command's."""
    name = clean.start("-m", "64m", "--cpus", "1", "--", "sleep", "1000")
    script = "cat /proc/1/cgroup > /tmp/a; cat /proc/self/cgroup > /tmp/b; cmp /tmp/a /tmp/b; cat /proc/uptime; "
    script += "grep -c ^processor /proc/cpuinfo; env | grep ^A=; pwd; exit 3"
    done = clean.pyproc("exec", "-e", "A=1", "-w", "/usr", name, "--", "sh", "-c", script, check=False)
    up, _, cpus, variable, place = done.stdout.split()
    assert (cpus, variable, place, done.returncode) == ("1", "A=1", "/usr", 3)
    assert float(up) < 60 * clean.scale
    with open(f"/proc/{status(clean, name)['pid']}/cgroup") as file:
        assert f"/pyproc/{name}" in file.read()
    command = [str(BIN / "pyproc"), "exec", *clean.places, "-i", name, "--", "wc", "-c"]
    assert subprocess.run(command, input=b"twelve bytes", capture_output=True, check=True).stdout == b"12\n"
    clean.pyproc("delete", "--force", name)
    assert clean.pyproc("exec", name, "true", check=False).returncode != 0


def test_dry_run(clean: Box) -> None:
    """`--dry-run` prints the plan, from claiming the name to the command, and does nothing."""
    lines = clean.run("--dry-run", "-m", "64m", "--name", "never", "--", "echo", "hello").stdout.splitlines()
    assert lines[0].startswith("claim: ")
    assert lines[-1] == "execve echo hello"
    for step in ("cgroupnamespace", "pivot", "mount source=proc target=/proc", "pivot", "loopback"):
        assert any(line.startswith(step) for line in lines), step
    bound = [line for line in lines if f"{clean.mountpoint}/containers/never/" in line]
    assert len(bound) == sum((Path("/") / path).exists() for path in BOUND)
    assert clean.ids() == []


def test_not_root(clean: Box) -> None:
    """Another user is told in one line that serving takes root, and a container a directory of the user's own."""
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    serve = [*user, str(BIN / "lxcfs-py"), "serve", str(clean.base / "other")]
    done = subprocess.run(serve, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"lxcfs-py: user 65534 can't .*; run .*as root.*\n", done.stderr), done.stderr
    run = [*user, str(BIN / "pyproc-run"), "--root", "/run/pyproc-no", "--storage", "/nowhere", "--", "true"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 125
    assert "denied; give a --root and a --storage of your own\n" in done.stderr, done.stderr


def test_proc_view_without_a_daemon(own: Box) -> None:
    """`require` fails with 125, `off` leaves the kernel's files, and the place of both stays empty."""
    done = own.run("--rm", "-m", "64m", "--proc-view", "require", "--", "true", check=False)
    assert (done.returncode, "lxcfs-py serve" in done.stderr) == (125, True)
    text = own.run("--rm", "-m", "64m", "--proc-view", "off", "--", "cat", "/proc/meminfo").stdout
    with open("/proc/meminfo") as file:
        assert text.splitlines()[0] == file.readline().rstrip()
    assert not (own.base / "run/lxcfs-py/daemon.json").exists()
    assert os.listdir(own.base / "state") == []


def test_a_daemon_is_started(tmp_path: Path, time_scale: float) -> None:
    """Where no daemon serves, three starts at once start one, say so once, and it serves on."""
    box = Apart(tmp_path, time_scale)
    box.do("mount", "-t", "tmpfs", "var-lib", "/var/lib")  # the mount point is made there
    command = box.command("--rm", "-m", "64m", "--", "grep", "MemTotal", "/proc/meminfo")
    runs = [
        subprocess.Popen(command, env=box.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [run.communicate(timeout=120 * time_scale) for run in runs]
    assert [out.split() for out, _ in said] == [["MemTotal:", "65536", "kB"]] * 3, said
    (pid,) = re.findall(r"^pyproc-run: started the lxcfs-py daemon \(pid (\d+)\)", "".join(e for _, e in said), re.M)
    daemon = os.pidfd_open(int(pid))
    try:
        again = box.run("--rm", "-m", "64m", "--proc-view", "require", "--", "grep", "MemTotal", "/proc/meminfo")
    finally:
        os.kill(int(pid), signal.SIGTERM)
        assert select.select([daemon], [], [], 30 * time_scale)[0]
        os.close(daemon)
        box.close()
    assert (again.stdout.split()[1], "started" in again.stderr.replace(str(tmp_path), "")) == ("65536", False)

"""The daemon: nothing ends it but who may, and nothing it serves is ever torn or missing."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from lxcfs_py import registry
from lxcfs_py.container import start_ticks
from lxcfs_py.daemon import mount
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from tests import lanes
from tests.live.box import BIN, Box, sigkill

READER = """
import os, sys, time
path, until, bad, count = '/proc/meminfo', time.monotonic() + float(sys.argv[1]), 0, 0
eio = 0
while time.monotonic() < until:
    try:
        text = open(path).read()
    except OSError as error:
        eio += error.errno == 5
        bad += error.errno != 5
        continue
    count += 1
    bad += not (text.startswith('MemTotal:          65536 kB\\n') and text.endswith('\\n') and text.count(':') > 15)
print(count, bad, eio)
"""
RELAYS = ("0", "1") if lanes.current()[0] == "here" else ("0",)
"""1: as on a kernel before 6.9, which the guest uml has by itself."""


def workers(daemon: subprocess.Popen[bytes]) -> list[int]:
    """Return the pids of a daemon's workers."""

    def children(pid: int) -> list[int]:
        try:
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    if os.path.exists("/proc/self/task"):
        found = [worker for template in children(daemon.pid) for worker in children(template)]
        if found:
            return found
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(a): int(b) for a, b in (line.split() for line in listing.splitlines())}
    return [pid for pid, parent in parents.items() if parents.get(parent) == daemon.pid]


def lxcfs(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run lxcfs-py."""
    command = [str(BIN / "lxcfs-py"), *arguments]
    return subprocess.run(command, env=box.environment, capture_output=True, text=True, check=False)


@pytest.mark.per_kernel  # what becomes of a dead process's requests is
@pytest.mark.parametrize("relay", RELAYS)
def test_workers_killed_under_readers(own: Box, lane: str, relay: str) -> None:
    """Workers killed again and again under eight readers: no wrong text, and no failed read.

    On kernels before 6.9, or when told to serve as there, a kill fails one read with EIO at most, and none hangs.
    """
    daemon = own.start_daemon(LXCFS_PY_RELAY=relay)
    resends = relay == "0" and lane != "uml"
    seconds = {"here": 5, "uml": 8}.get(lane, 20)
    name = own.start("-m", "64m", "--memory-swap", "64m", "--", "sleep", "1000")
    readers = [
        subprocess.Popen(
            [BIN / "pyproc", "exec", *own.places, name, "--", "python3", "-c", READER, str(seconds)],
            stdout=subprocess.PIPE,
            env=own.environment,
        )
        for _ in range(8 if lane == "here" else 3)
    ]
    kills, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.3 * own.scale)
        if pids := workers(daemon):
            sigkill(pids[kills % len(pids)])
            kills += 1
    results = []
    for reader in readers:
        output, _ = reader.communicate(timeout=60 * own.scale)
        results.append(tuple(map(int, output.split())))
    assert kills > 2
    assert all(count > 10 and bad == 0 for count, bad, _ in results), results
    assert sum(eio for *_, eio in results) <= (0 if resends else kills), results


@pytest.mark.anywhere
def test_a_foreign_mount_is_left_alone(own: Box) -> None:
    """A mount point where something else is mounted is refused by name."""
    own.mountpoint.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "foreign", own.mountpoint], check=True)
    try:
        done = subprocess.run(
            [BIN / "lxcfs-py", "serve", own.mountpoint], env=own.environment, capture_output=True, text=True
        )
    finally:
        subprocess.run(["umount", own.mountpoint], check=True)
    assert (done.returncode, "foreign (tmpfs)" in done.stderr) == (1, True), done.stderr


def test_a_dead_mount_is_replaced(own: Box) -> None:
    """After SIGKILL of the whole daemon the next one takes the mount point over."""
    daemon = own.start_daemon()
    daemon.kill()
    daemon.wait()
    deadline = time.monotonic() + 20 * own.scale
    while not mount.is_dead(str(own.mountpoint)) and time.monotonic() < deadline:
        time.sleep(0.05)
    (own.base / "run/lxcfs-py/daemon.json").unlink()
    own.start_daemon()
    assert (own.mountpoint / "proc/meminfo").read_text().startswith("MemTotal:")


@pytest.mark.anywhere
def test_sigterm_unmounts_and_names_containers(own: Box) -> None:
    """SIGTERM unmounts, and the log names the containers that had its files."""
    own.start_daemon()
    name = own.start("--", "sleep", "100")
    own.stop_daemon()
    assert mount.mounted(str(own.mountpoint)) is None
    assert name in own.log.read_text()


@pytest.mark.anywhere
def test_lxcfs_command_line(own: Box) -> None:
    """Options of LXCFS are understood: the pid is written, what the mount point held is covered and comes back."""
    own.mountpoint.mkdir()
    (own.mountpoint / "file").write_text("x")
    refused = lxcfs(own, "serve", str(own.mountpoint))
    assert (refused.returncode, "not empty" in refused.stderr) == (1, True)
    pidfile = own.base / "pid"
    options = ("-f", "-s", "--enable-cfs", "--enable-pidfd", "-o", "allow_other,nonempty", "--pidfile", str(pidfile))
    daemon = own.start_daemon(*options)
    assert pidfile.read_text() == f"{daemon.pid}\n"
    assert sorted(path.name for path in own.mountpoint.iterdir()) == ["containers", "proc", "sys"]
    own.stop_daemon()
    assert (own.mountpoint / "file").read_text() == "x"
    assert not pidfile.exists()


@pytest.mark.parametrize("count", [None, 3])
def test_workers(own: Box, count: int | None) -> None:
    """There are as many workers as asked for, else one a CPU, and four at most."""
    daemon = own.start_daemon(*(("--workers", str(count)) if count else ()))
    (own.mountpoint / "proc/meminfo").read_text()
    deadline = time.monotonic() + 20 * own.scale
    while len(workers(daemon)) != (count or min(4, os.cpu_count() or 1)):
        assert time.monotonic() < deadline, workers(daemon)
        time.sleep(0.05)


def test_the_rest_of_the_cpu_directory(own: Box) -> None:
    """What is no view below sys/devices/system/cpu is the host's own, and nothing can be written."""
    own.start_daemon()
    ours, theirs = own.mountpoint / "sys/devices/system/cpu", Path("/sys/devices/system/cpu")
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
    for name in ("possible", "present", "kernel_max"):
        assert (ours / name).read_text() == (theirs / name).read_text()
    for path in (ours / "online", ours / "possible", own.mountpoint / "proc/meminfo"):
        with pytest.raises(OSError, match=r"denied|not permitted|Read-only"):
            path.write_text("0")


@pytest.mark.per_kernel  # what becomes of a dead process's requests is
def test_readers_that_die_and_cgroups_that_vanish(own: Box, lane: str) -> None:
    """Two hundred readers killed while they read, and containers removed under others: the daemon serves on."""
    daemon = own.start_daemon()
    for _ in range(200 if lane == "here" else 20):
        with subprocess.Popen(
            ["cat", *(str(own.mountpoint / f"proc/{name}") for name in ("stat", "meminfo"))], stdout=-3
        ) as cat:
            cat.kill()
    for _ in range(5 if lane == "here" else 2):
        name = own.start("--", "sh", "-c", "while :; do cat /proc/stat /proc/meminfo >/dev/null; done")
        own.pyproc("delete", "--force", name)
    assert daemon.poll() is None
    assert (own.mountpoint / "proc/stat").read_text().startswith("cpu ")
    lines = [re.sub(r" \(pid \d+\)$", "", line) for line in own.log.read_text().splitlines()]
    assert len(lines) == len(set(lines)), lines


@pytest.mark.anywhere
def test_garbage_registrations(own: Box) -> None:
    """Registrations that are cut, odd, links or not root's are no containers, and end nothing."""
    own.start_daemon()
    at = own.base / "run/lxcfs-py/containers"
    at.mkdir(parents=True, exist_ok=True)
    (at / "a.json").write_text("{")
    (at / "b.json").write_text('{"id": "b", "init_pid": "1"}')
    (at / "c.json").symlink_to("/etc/passwd")
    (at / "d.json").write_text("[" * 5000)
    for name in "abcd":
        assert not (own.mountpoint / f"containers/{name}/proc/meminfo").exists()
        (at / f"{name}.json").unlink()
    assert (own.mountpoint / "proc/uptime").read_text()


@pytest.mark.anywhere
def test_it_starts_with_a_thousand_containers(own: Box) -> None:
    """However many containers are registered, it serves as soon as without any, and each of them is served."""

    def started() -> float:
        since = time.monotonic()
        own.start_daemon()
        return time.monotonic() - since

    host, init = Host(run=str(own.base / "run")), os.getpid()
    ticks = start_ticks(host, Files(1), init)
    assert ticks is not None
    alone = started()
    own.stop_daemon()
    for number in range(1000):
        registry.register(host, registry.Registration(f"c{number}", init, ticks, {}))
    among = started()
    print(f"serves after {alone:.2f} s, with a thousand registered {among:.2f} s")
    assert among < max(1.0, 2 * alone)
    for number in (0, 999):
        assert (own.mountpoint / f"containers/c{number}/proc/meminfo").read_text().startswith("MemTotal:")


def test_by_caller(own: Box) -> None:
    """A container whose files are bound from proc/, without registration, sees its limits too."""
    own.start_daemon()
    binds = [f"-v{own.mountpoint}/proc/meminfo:/proc/meminfo", f"-v{own.mountpoint}/proc/uptime:/proc/uptime"]
    text = own.run(
        "--rm", "--proc-view", "off", "-m", "64m", *binds, "--", "cat", "/proc/meminfo", "/proc/uptime"
    ).stdout
    assert text.startswith("MemTotal:          65536 kB\n")
    assert float(text.splitlines()[-1].split()[0]) < 10 * own.scale


def test_show(own: Box) -> None:
    """`lxcfs-py show` prints a registered container's file without a mount."""
    own.start_daemon()
    name = own.start("-m", "64m", "--", "sleep", "100")
    for option, value in (("--container", name), ("--cgroup", f"/pyproc/{name}")):
        done = subprocess.run(
            [BIN / "lxcfs-py", "show", "meminfo", option, value],
            env=own.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.match(r"MemTotal: +65536 kB", done.stdout)

"""The service: systemd starts, watches, restarts and ends it, and who reads notices nothing of that."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.daemon.session import NAMES
from tests.systemd import host
from tests.systemd.host import MOUNT, MOUNTPOINT, SERVICE, about, systemctl
from tests.systemd.readers import CONTAINER, Readers

if TYPE_CHECKING:
    from collections.abc import Iterator


BOUND_SECONDS = 2.0
"""No read and no call may wait for longer, whatever is done to the service."""
RESENDS = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 9)


def unharmed(results: list[dict[str, Any]], scale: float, killed: int = 0, away: float = 0) -> None:
    """See that readers read, and that none failed, was misled or waited for long.

    ``killed`` is how many processes were, if all: before 6.9 the read that each held fails. ``away`` is for how many
    seconds there was nobody to answer: on one busy CPU three interpreters start one after the other.
    """
    print(*results, sep="\n")
    assert all(found["count"] > 20 for found in results), results
    assert all(found["wrong"] == 0 for found in results), (results, host.journal())
    assert sum(found["failed"] for found in results) <= (0 if RESENDS else killed), (results, host.journal())
    assert max(found["worst"] for found in results) < BOUND_SECONDS * scale + away, (away, results)


def test_started(service: None) -> None:
    """Once it is started, it serves, the host sees the mount, and it runs as the unit says."""
    assert about("ActiveState") == "active"
    assert len(host.mounts()) == 1
    assert host.served("proc/meminfo").startswith("MemTotal:")
    own = Path(f"/proc/{host.main_pid()}")
    assert (own / "oom_score_adj").read_text() == "-900\n"
    assert "NoNewPrivs:\t1" in (own / "status").read_text()
    assert os.readlink(own / "ns/mnt") == os.readlink("/proc/1/ns/mnt")
    assert re.search(r"Max open files +524288 +524288", (own / "limits").read_text())
    assert re.search(r"Max core file size +0 +0", (own / "limits").read_text())
    cgroup = Path(f"/sys/fs/cgroup/system.slice/{SERVICE}")
    assert [(cgroup / name).read_text() for name in ("memory.max", "pids.max")] == [f"{512 << 20}\n", "256\n"]
    assert about("NFileDescriptorStore") == str(len(NAMES))


@pytest.mark.usefixtures("service")
def test_for_root_alone() -> None:
    """Sockets are root's but for that of users' listeners; the directory may be looked into; users are refused."""
    for path, mode in (
        ("", 0o755),
        ("/control.sock", 0o600),
        ("/seccomp.sock", 0o600),
        ("/daemon.json", 0o644),
        ("/seccomp-users.sock", 0o666),
    ):
        found = os.stat(f"/run/lxcfs-py{path}")
        assert (oct(found.st_mode & 0o777), found.st_uid, found.st_gid) == (oct(mode), 0, 0), path
    done = host.run("setpriv", "--reuid=65534", "--clear-groups", host.BIN / "lxcfs-py", "status", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("lxcfs-py: /run/lxcfs-py/control.sock: ")
    assert host.status()["mountpoint"] == MOUNTPOINT


def test_a_container_starts_it() -> None:
    """Where the service is installed and stopped, `pyproc-run` has systemd start it, and says so."""
    try:
        done = host.run(host.BIN / "pyproc-run", "--rm", "-m", "64m", "--", "head", "-n", "1", "/proc/meminfo")
        assert done.stdout == "MemTotal:          65536 kB\n"
        said = f"pyproc-run: started {SERVICE}, which goes on serving"
        assert said in done.stderr.splitlines()
        assert about("ActiveState") == "active"
        assert said not in host.run(host.BIN / "pyproc-run", "--rm", "--", "true").stderr
    finally:
        systemctl("stop", MOUNT)


def test_a_container_starts_no_broken_one(time_scale: float) -> None:
    """Where the service can't be started, `pyproc-run` says why and what to do, and starts no daemon of its own."""
    host.run("mount", "-t", "tmpfs", "foreign", MOUNTPOINT)
    try:
        done = host.run(host.BIN / "pyproc-run", "--rm", "--", "true", check=False)
        assert (done.returncode, done.stdout) == (125, "")
        assert f"pyproc-run: {SERVICE} did not start: " in done.stderr
        assert f"journalctl -u {SERVICE}" in done.stderr
        host.run(host.BIN / "pyproc-run", "--rm", "--proc-view", "off", "--", "true")
        host.wait(lambda: about("ActiveState", MOUNT) == "inactive", time_scale)
    finally:
        host.run("umount", MOUNTPOINT)
        systemctl("reset-failed", SERVICE)


def test_enabled_and_disabled() -> None:
    """Enabling has the boot start it; `disable --now` stops it, and leaves no mount and no process."""
    systemctl("enable", "--now", SERVICE)
    assert SERVICE in systemctl("list-dependencies", "--plain", "multi-user.target")
    assert host.mounts()
    systemctl("disable", "--now", SERVICE)
    assert SERVICE not in systemctl("list-dependencies", "--plain", "multi-user.target")


def test_stopped_with_the_mount(service: None) -> None:
    """Stopping the mount's unit stops the service first, and waits until nothing is mounted."""
    systemctl("stop", MOUNT)
    assert about("ActiveState") == "inactive"
    assert not host.mounts()


def test_stop_unmounts(service: None, time_scale: float) -> None:
    """After a stop, the mount and every process are gone within seconds, and neither unit has failed."""
    systemctl("stop", SERVICE)
    host.wait(lambda: not host.mounts() and not host.processes(), time_scale, 5)
    host.wait(lambda: about("ActiveState", MOUNT) != "deactivating", time_scale)
    assert (about("ActiveState"), about("ActiveState", MOUNT)) == ("inactive", "inactive")
    assert not Path("/run/lxcfs-py/daemon.json").exists()


def test_a_stop_between_death_and_restart_unmounts(service: None, time_scale: float) -> None:
    """A service that is stopped while it waits to be restarted leaves no mount behind."""
    host.configure("RestartSec=600")
    host.kill(host.main_pid())
    host.wait(lambda: about("SubState") == "auto-restart", time_scale)
    assert host.mounts()
    systemctl("stop", SERVICE)
    host.wait(lambda: not host.mounts() and not host.processes(), time_scale, 5)


def test_restart_keeps_the_mount(readers: Readers, time_scale: float) -> None:
    """`systemctl restart`, again and again: the mount stays the same one, and no read fails."""
    before = host.mounts()
    for _ in range(3):
        pid = host.main_pid()
        systemctl("restart", SERVICE)
        assert host.main_pid() not in (0, pid)
        time.sleep(0.2)
        assert host.mounts() == before
    unharmed(readers.end(), time_scale)


def test_killed(readers: Readers, time_scale: float) -> None:
    """SIGKILL of the main process, again and again: systemd starts it anew, and no read fails."""
    before = host.mounts()
    for _ in range(3):
        pid = host.main_pid()
        host.kill(pid)
        host.wait(lambda: host.main_pid() not in (0, pid) and about("ActiveState") == "active", time_scale)  # noqa: B023
        assert host.mounts() == before
    assert int(about("NRestarts")) >= 3
    unharmed(readers.end(), time_scale)


def test_everything_killed(readers: Readers, time_scale: float) -> None:
    """SIGKILL of every process of the service, again and again: what systemd keeps is enough to go on from."""
    before, killed, away = host.mounts(), 0, 0.0
    for _ in range(3):
        pid, since = host.main_pid(), time.monotonic()
        killed += host.kill(*host.processes())
        host.wait(lambda: host.main_pid() not in (0, pid) and about("ActiveState") == "active", time_scale)  # noqa: B023
        away = max(away, time.monotonic() - since)
        time.sleep(0.5 * time_scale)
        assert host.mounts() == before
    assert CONTAINER in [found["id"] for found in host.status()["containers"]]
    unharmed(readers.end(), time_scale, killed, away)


def test_killed_while_it_takes_over(readers: Readers, time_scale: float) -> None:
    """SIGKILL at every stage of taking over: in the end as many processes serve as before, and no read failed."""
    usual = len(host.processes())
    for tenths in range(0, 15, 3):
        pid = host.main_pid()
        host.kill(pid)
        host.wait(lambda: host.main_pid() not in (0, pid), time_scale)  # noqa: B023
        time.sleep(tenths / 10 * time_scale)
    host.wait(lambda: about("ActiveState") == "active", time_scale)
    host.wait(lambda: len(host.processes()) <= usual, time_scale)
    unharmed(readers.end(), time_scale)


@pytest.fixture
def new() -> Iterator[Path]:
    """Put a copy of the package in the place of what is installed; return it, to be changed."""
    home, copy = Path("/usr/local/lib/lxcfs-py"), Path("/usr/local/lib/lxcfs-py.new")
    shutil.copytree(home, copy, symlinks=True)
    shutil.move(home, f"{home}.old")
    shutil.move(copy, home)
    yield next(home.glob("lib/python3*/site-packages/lxcfs_py"))
    shutil.rmtree(home)
    shutil.move(f"{home}.old", home)


def test_upgrade(readers: Readers, new: Path, time_scale: float) -> None:
    """Another version is put in place and the service restarted: the new one serves, and no read failed."""
    (new / "__init__.py").write_text('"""Of tomorrow."""\n\n__version__ = "99.0"\n')
    systemctl("restart", SERVICE)
    assert host.status()["version"] == "99.0"
    time.sleep(time_scale)
    unharmed(readers.end(), time_scale)


def test_an_upgrade_that_can_not_serve(readers: Readers, new: Path, time_scale: float) -> None:
    """A version whose workers can't begin takes nothing from who reads, and systemd says why it does not start; once
    that is mended, it does.
    """
    usual, begun = host.processes(), new / "daemon/workers.py"
    sound = begun.read_text()
    begun.write_text("raise ImportError('of tomorrow')\n")
    systemctl("restart", "--no-block", SERVICE)
    host.wait(lambda: "those of before serve on" in about("StatusText"), time_scale, 60)
    assert about("ActiveState") == "activating"
    assert "of tomorrow" in host.journal()
    assert len(set(usual) & set(host.processes())) > len(os.sched_getaffinity(0))  # the workers, and who forks them
    begun.write_text(sound)
    host.wait(lambda: about("ActiveState") == "active", time_scale, 60)
    assert about("StatusText") == ""
    unharmed(readers.end(), time_scale)


def test_watchdog(service: None, time_scale: float) -> None:
    """A main process that hangs is killed by systemd's watchdog, says where it hung, and another one serves."""
    seconds = time_scale
    host.configure(f"WatchdogSec={seconds}")
    systemctl("restart", SERVICE)
    pid = host.main_pid()
    time.sleep(2 * seconds)
    assert host.main_pid() == pid, "it was killed although it answered"
    os.kill(pid, signal.SIGSTOP)
    host.wait(lambda: host.main_pid() not in (0, pid), time_scale, 60)
    host.wait(lambda: about("ActiveState") == "active", time_scale)
    assert "Watchdog timeout" in host.journal()
    assert host.served("proc/meminfo").startswith("MemTotal:")


def test_an_absent_mount_point_is_made(time_scale: float) -> None:
    """The service starts on a host whose mount point was removed."""
    os.rmdir(MOUNTPOINT)
    systemctl("start", SERVICE)
    assert host.mounts()
    systemctl("stop", SERVICE)
    host.wait(lambda: not host.mounts(), time_scale)


def test_a_foreign_mount_is_left_alone(time_scale: float) -> None:
    """Where another filesystem is mounted, the service fails, once, and says why; the mount stays."""
    host.run("mount", "-t", "tmpfs", "foreign", MOUNTPOINT)
    try:
        systemctl("start", SERVICE, check=False)
        assert (about("ActiveState"), about("NRestarts")) == ("failed", "0")
        host.wait(lambda: "foreign (tmpfs)" in host.journal(), time_scale)
        host.wait(lambda: about("ActiveState", MOUNT) == "inactive", time_scale)
        assert len(host.mounts()) == 1
    finally:
        host.run("umount", MOUNTPOINT)
        systemctl("reset-failed", SERVICE)


def test_another_daemon_is_left_alone(time_scale: float) -> None:
    """Where a daemon that is not the service's serves, the service fails, and that daemon's mount stays."""
    other = subprocess.Popen([host.BIN / "lxcfs-py", "serve"], cwd="/", stderr=subprocess.DEVNULL)
    try:
        host.wait(lambda: Path("/run/lxcfs-py/daemon.json").exists() and host.mounts(), time_scale)
        systemctl("start", SERVICE, check=False)
        assert about("ActiveState") == "failed"
        host.wait(lambda: about("ActiveState", MOUNT) == "inactive", time_scale)
        assert host.served("proc/meminfo").startswith("MemTotal:")
    finally:
        other.terminate()
        other.wait(20 * time_scale)
        systemctl("reset-failed", SERVICE)
    assert not host.mounts()


@pytest.mark.usefixtures("service")
def test_journal() -> None:
    """The journal is readable: whole lines, none of them a traceback, and no complaint about the units."""
    before = len(host.journal().splitlines())
    systemctl("restart", SERVICE)
    lines = host.journal().splitlines()[before:]
    assert any("Started lxcfs-py.service" in line for line in lines), lines
    assert not [line for line in lines if re.search("Traceback|Unknown|Failed|not told", line)], lines

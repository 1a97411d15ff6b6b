"""systemd and the installed service, as an administrator handles them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[2]
STAGED = "LXCFS_PY_STAGED"
"""The variable with the directory in which ``make install`` put all before this guest was booted (tests/vm/test)."""
SERVICE, MOUNT = "lxcfs-py.service", "lxcfs-py-mount.service"
MOUNTPOINT = "/var/lib/lxcfs"
BIN = Path("/usr/local/bin")
CONNECTIONS = Path("/sys/fs/fuse/connections")
DROP_IN = Path(f"/run/systemd/system/{SERVICE}.d/test.conf")


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; after 300 s it hangs, and so may whoever waits for it until the mount is aborted."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            out, err = process.communicate(timeout=300)
        except BaseException:
            process.kill()
            abort()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    assert not check or done.returncode == 0, (command, done.returncode, done.stdout, done.stderr, journal())
    return done


def systemctl(*arguments: str, check: bool = True) -> str:
    """Run systemctl; return what it prints."""
    return run("systemctl", "--no-pager", *arguments, check=check).stdout.strip()


def journal() -> str:
    """Return what the service, and systemd about it, wrote since boot."""
    command = ["journalctl", "--no-pager", "--quiet", "-b", "-o", "short-monotonic", "-u", SERVICE, "-u", MOUNT]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def about(name: str, unit: str = SERVICE) -> str:
    """Return a property of a unit."""
    return systemctl("show", "--value", "-p", name, unit)


def main_pid() -> int:
    """Return the service's main process."""
    return int(about("MainPID"))


def status() -> dict[str, Any]:
    """Return what the daemon says of itself."""
    found: dict[str, Any] = json.loads(run(BIN / "lxcfs-py", "status", "--json").stdout)
    return found


def mounts(of: str = "1") -> list[str]:
    """Return the ids of what is mounted at the mount point, as a process sees it."""
    lines = Path(f"/proc/{of}/mountinfo").read_text().splitlines()
    return [line.split()[0] for line in lines if line.split()[4] == MOUNTPOINT]


def processes() -> list[int]:
    """Return the processes in the service's cgroup."""
    try:
        text = Path(f"/sys/fs/cgroup/system.slice/{SERVICE}/cgroup.procs").read_text()
    except OSError:  # there is no such cgroup where there is no process
        return []
    return [int(word) for word in text.split()]


def wait(condition: Callable[[], object], scale: float, seconds: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds * scale
    while not condition():
        assert time.monotonic() < deadline, journal()
        time.sleep(0.02)


def configure(*lines: str) -> None:
    """Give the service other settings until the next ``configure``."""
    if lines:
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text("\n".join(["[Service]", *lines, ""]))
    elif DROP_IN.parent.exists():
        shutil.rmtree(DROP_IN.parent)
    else:  # a reload costs seconds in a guest
        return
    systemctl("daemon-reload")


def install() -> None:
    """Put what was staged in its place, as `make install` does on a host of its own."""
    run("cp", "-a", f"{os.environ[STAGED]}/.", "/")
    systemctl("daemon-reload")
    run("systemd-tmpfiles", "--create", "/usr/local/lib/tmpfiles.d/lxcfs-py.conf")


def uninstall() -> None:
    """Do what `make uninstall` does."""
    run(PROJECT / "deploy/install", "--uninstall")


def kill(*pids: int) -> int:
    """SIGKILL processes; return how many there still were."""
    killed = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it died with another
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def served(path: str) -> str:
    """Return what a served file says, read by a process that may hang and we not."""
    return run("timeout", "--signal=KILL", "20", "cat", f"{MOUNTPOINT}/{path}").stdout


def abort() -> None:
    """Have the kernel fail all that waits for the mount: nothing else ends it once nobody answers."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for device in [line.split()[2] for line in lines if line.split()[4] == MOUNTPOINT]:
        connection = CONNECTIONS / device.partition(":")[2]
        if not connection.exists():
            subprocess.run(["mount", "-t", "fusectl", "fusectl", CONNECTIONS], timeout=20, check=False)
        with contextlib.suppress(OSError):  # it is unmounted by now, or no FUSE
            print(f"{connection}: {(connection / 'waiting').read_text().strip()} requests wait; aborted")
            (connection / "abort").write_text("1\n")


def tree(*roots: str) -> set[str]:
    """Return every path below some directories."""
    return {os.path.join(at, name) for root in roots for at, dirs, files in os.walk(root) for name in dirs + files}

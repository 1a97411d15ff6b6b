"""systemd and the installed service, as an administrator handles them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[2]
STAGED = PROJECT / "build/root"
"""What ``make install`` made before this guest was booted (tests/vm/test)."""
SERVICE, MOUNT = "lxcfs-py.service", "lxcfs-py-mount.service"
MOUNTPOINT = "/var/lib/lxcfs"
BIN = Path("/usr/local/bin")
DROP_IN = Path(f"/run/systemd/system/{SERVICE}.d/test.conf")


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
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
    else:
        shutil.rmtree(DROP_IN.parent, ignore_errors=True)
    systemctl("daemon-reload")


def install() -> None:
    """Put what was staged in its place, as `make install` does on a host of its own."""
    run("cp", "-a", f"{STAGED}/.", "/")
    systemctl("daemon-reload")
    run("systemd-tmpfiles", "--create", "/usr/local/lib/tmpfiles.d/lxcfs-py.conf")


def uninstall() -> None:
    """Do what `make uninstall` does."""
    run(PROJECT / "deploy/install", "--uninstall")


READER = """
import ctypes, json, os, sys, time
kind, path, until = sys.argv[1:]
libc, buffer = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(112)

def read():
    with open(path) as file:
        return file.read()

def total(begins):
    def right():
        text = read()
        return text.startswith(begins) and text.endswith("\\n") and text.count(":") > 15
    return right

last = [0] * 10
def counters():
    text, before = read(), last[:]
    last[:] = map(int, text.split("\\n")[0].split()[1:])
    return text.endswith("\\n") and all(new >= old for new, old in zip(last, before))

peak = [0.0, 0.0, 0.0]
def loads():
    one, now, (most, since, before) = float(read().split()[0]), time.monotonic(), peak
    peak[2] = one
    steps = (now - since) / 5  # at each the kernel's arithmetic leaves 0.92 of it; some may come late or early
    if one != before and one >= most * 0.92 ** steps:
        peak[:2] = one, now
    return one >= most * 0.92 ** (steps + 3) - 0.02

def sysinfo():
    if libc.sysinfo(buffer):
        raise OSError(ctypes.get_errno(), "sysinfo")
    return int.from_bytes(buffer.raw[32:40], sys.byteorder) == 64 << 20

right = {
    "host": total("MemTotal:"), "container": total("MemTotal:          65536 kB\\n"),
    "counters": counters, "loads": loads, "sysinfo": sysinfo,
}[kind]
count, failed, wrong, worst, errors = 0, 0, 0, 0.0, []
print("begun", flush=True)
while not os.path.exists(until):
    since = time.monotonic()
    try:
        wrong += not right()
    except OSError as error:
        failed += 1
        errors = [*errors, str(error)][:5]
    count += 1
    worst = max(worst, time.monotonic() - since)
    time.sleep(0.005)  # a guest may have one CPU
print(json.dumps({"kind": kind, "count": count, "failed": failed, "wrong": wrong, "worst": worst, "errors": errors}))
"""
MEMINFO, CONTAINER = "/proc/meminfo", "reader"
KINDS = (
    *(("host", f"{MOUNTPOINT}/proc/meminfo"),) * 3,
    *(("container", MEMINFO),) * 3,
    ("counters", "/proc/stat"),
    ("loads", "/proc/loadavg"),
    ("sysinfo", ""),
)
"""What each reader does: eight read files, on the host or in the container, and one makes system calls."""


class Readers:
    """Processes that read in a loop, until they are asked how it went."""

    def __init__(self, directory: Path) -> None:
        self.until = directory / "until"
        script = directory / "reader.py"
        script.write_text(READER)
        shared = ("-v", f"{directory}:{directory}")
        busy = "while :; do for i in 1 2 3 4 5 6 7 8 9; do :; done; sleep .1; done"  # a counter that counts
        run(BIN / "pyproc-run", "-d", "--name", CONTAINER, "-m", "64m", *shared, "--", "sh", "-c", busy)
        python = ["/usr/bin/python3", str(script)]
        inside = [str(BIN / "pyproc"), "exec", CONTAINER, "--", *python]
        self.found = [
            subprocess.Popen(
                [*(python if kind == "host" else inside), kind, path, str(self.until)], stdout=subprocess.PIPE
            )
            for kind, path in KINDS
        ]
        for reader in self.found:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"begun\n", journal()

    def end(self) -> list[dict[str, Any]]:
        """End them; return what each has seen."""
        self.until.touch()
        return [json.loads(reader.communicate(timeout=120)[0]) for reader in self.found]

    def close(self) -> None:
        """Leave nothing of them."""
        for reader in self.found:
            reader.kill()
            reader.communicate()
        run(BIN / "pyproc", "delete", "--force", CONTAINER)


def tree(*roots: str) -> set[str]:
    """Return every path below some directories."""
    return {os.path.join(at, name) for root in roots for at, dirs, files in os.walk(root) for name in dirs + files}

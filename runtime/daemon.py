"""Finds the daemon that serves the truthful /proc, and starts one if it is wanted."""

from __future__ import annotations

import os
import time

from lxcfs_py.errors import reason
from lxcfs_py.serving import announced, paths
from runtime import state
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.host import Host

START_SECONDS = 60.0
"""How long a daemon may take until it serves, on a slow machine."""


def serving(host: Host) -> str:
    """Return the mount point of the daemon that serves, "" if none does."""
    found = announced(host)
    try:
        if not found or not state.alive(found["pid"], found["start_ticks"], host):
            return ""
        os.stat(f"{found['mountpoint']}/proc/meminfo")
    except (OSError, KeyError):
        return ""
    return str(found["mountpoint"])


def find(host: Host, proc_view: str) -> str:
    """Return the mount point to bind from, "" for the kernel's /proc; raises an Error as --proc-view says."""
    if proc_view == "off":
        return ""
    found = serving(host)
    if found or proc_view == "auto":
        return found or _start(host)
    raise RunError("--proc-view require: no lxcfs-py daemon serves", "start one: lxcfs-py serve")


def _start(host: Host) -> str:
    """Start a daemon in the background, one at a time; it outlives us."""
    import fcntl
    import subprocess
    import sys

    os.makedirs(f"{host.run}/lxcfs-py", mode=0o755, exist_ok=True)
    log = f"{host.run}/lxcfs-py/daemon.log"
    lock = os.open(f"{host.run}/lxcfs-py/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := serving(host):
            return found
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        with open(log, "ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "lxcfs_py.cli", "serve", "--runtime-dir", host.run],
                cwd=here,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not (found := serving(host)):
            if child.poll() is not None or time.monotonic() > deadline:
                raise RunError(f"the lxcfs-py daemon did not start: {_last(log)}", "--proc-view off does without it")
            time.sleep(0.02)
        os.write(2, f"pyproc-run: started the lxcfs-py daemon (pid {child.pid}), which goes on serving\n".encode())
        child.returncode = 0  # it is not ours to wait for
        return found
    finally:
        os.close(lock)


def _last(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return (file.read().strip().splitlines() or ["it said nothing"])[-1]
    except OSError as error:
        return reason(error)


__all__ = ["find", "paths", "serving"]

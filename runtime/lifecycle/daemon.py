"""Finds the daemon that serves the truthful /proc, starts one if it is wanted, and tells it of containers."""

from __future__ import annotations

import os
import time

from lxcfs_py import announcement, registry
from lxcfs_py.errors import reason
from runtime import places
from runtime.errors import RunError
from runtime.places import BOOTED
from runtime.process import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.host import Host
    from runtime.state import State

SERVICE = "lxcfs-py.service"
SERVICE_RUN = "/run"
"""What the service serves containers of."""
START_SECONDS = 60.0
"""How long a daemon may take until it serves, on a slow machine."""


def serving(host: Host) -> str:
    """Return the mount point of the daemon that serves, "" if none does."""
    found = announcement.read(host)
    if found is None or not announcement.serves(host, found):
        return ""
    try:
        os.stat(f"{found.mountpoint}/proc/meminfo")
    except OSError:
        return ""
    return found.mountpoint


def register(host: Host, layout: Layout, found: State) -> None:
    """Have it know a container by its first process, whether it serves already or not."""
    paths = cgroups.own(host, layout, found.cgroup)
    about = registry.Registration(found.id, found.pid, found.start_ticks, paths, found.boottime_offset_nsec)
    if not registry.register(host, about):
        text = f"the name {found.id!r} is that of a running container of another --root, or another runtime"
        raise RunError(text, f"choose another: {registry.directory(host)}/{found.id}.json tells its process")


def find(host: Host, proc_view: str) -> str:
    """Return the mount point to bind from, "" for the kernel's /proc; raises an Error as --proc-view says."""
    if proc_view == "off":
        return ""
    found = serving(host)
    if found:
        return found
    if proc_view == "auto" and places.unprivileged(host.proc):
        os.write(2, b"pyproc-run: no lxcfs-py daemon serves, and root alone can start one: /proc tells the host's\n")
        return ""
    if proc_view == "auto":
        return _start(host)
    raise RunError("--proc-view require: no lxcfs-py daemon serves", "start one: lxcfs-py serve")


def _start(host: Host) -> str:
    """Have a daemon started in the background, one at a time; it outlives us."""
    import fcntl

    os.makedirs(f"{host.run}/lxcfs-py", mode=0o755, exist_ok=True)
    log = f"{host.run}/lxcfs-py/daemon.log"
    lock = os.open(f"{host.run}/lxcfs-py/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := serving(host):
            return found
        if host.run == SERVICE_RUN and _installed():
            return _start_service(host)
        return _start_own(host, log)
    finally:
        os.close(lock)


def _installed() -> bool:
    """Say whether systemd runs and has the service's unit (which may be masked: then it is not to be started)."""
    import subprocess

    if not os.path.isdir(BOOTED):
        return False
    show = ["systemctl", "show", "--value", "--property=LoadState", SERVICE]
    try:
        return subprocess.run(show, capture_output=True, text=True, check=False).stdout.strip() == "loaded"
    except OSError:
        return False


def _start_service(host: Host) -> str:
    import subprocess

    done = subprocess.run(["systemctl", "start", SERVICE], capture_output=True, text=True, check=False)
    found = serving(host)
    if not found:
        why = done.stderr.strip().partition("\n")[0] or "it is active, but does not serve"
        raise RunError(f"{SERVICE} did not start: {why}", f"journalctl -u {SERVICE}; --proc-view off does without it")
    os.write(2, f"pyproc-run: started {SERVICE}, which goes on serving\n".encode())
    return found


def _start_own(host: Host, log: str) -> str:
    import subprocess
    import sys

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


def _last(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return (file.read().strip().splitlines() or ["it said nothing"])[-1]
    except OSError as error:
        return reason(error)

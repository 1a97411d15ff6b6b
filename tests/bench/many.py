"""Containers in numbers, each a sleeping process and a cgroup, registered by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from lxcfs_py import registry
from lxcfs_py.cgroup import control, layout
from lxcfs_py.container import start_ticks
from lxcfs_py.files import Files

if TYPE_CHECKING:
    from lxcfs_py.host import Host

BIN = Path(__file__).resolve().parent.parent.parent / ".venv" / "bin"


def memory_kib(number: int) -> int:
    """Return the limit of a container, by which its text is known."""
    return (64 << 10) + (number << 2)


class Many:
    """Any number of containers, ``soak-0`` and on; they go at the end."""

    def __init__(self, host: Host) -> None:
        self.host, self.there = host, layout.detect(host, Files())
        self.top = f"/lxcfs-py-bench-{os.getpid()}"
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for path in (*(f"{self.top}/{number}" for number in range(len(self.pids))), self.top):
            control.remove(self.host, self.there, path)

    def add(self) -> str:
        """Start and register one more; return its id."""
        number = len(self.pids)
        path = f"{self.top}/{number}"
        limits = control.Limits(memory_bytes=memory_kib(number) << 10)
        control.create(self.host, self.there, path, limits)
        doors = control.doors(self.there, path)
        pid = os.fork()
        if pid == 0:
            try:
                control.enter(doors)
                os.execv("/bin/sleep", ["sleep", "1000000"])
            finally:
                os._exit(1)
        self.pids.append(pid)
        return self.register(f"soak-{number}", pid, number)

    def register(self, id_: str, pid: int, number: int) -> str:
        """Register a process as a container, with a container's cgroup; return its id."""
        ticks = start_ticks(self.host, Files(1), pid) or 0
        cgroups = dict.fromkeys(self.there.hierarchies, f"{self.top}/{number}")
        registry.register(self.host, registry.Registration(id_, pid, ticks, cgroups))
        return id_


def serve(host: Host, mountpoint: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start the daemon; return it, and after how many seconds it served the first container."""
    since = time.monotonic()
    daemon = subprocess.Popen([BIN / "lxcfs-py", "serve", mountpoint, "--runtime-dir", host.run])
    while not (mountpoint / "containers/soak-0/proc/meminfo").exists():
        assert daemon.poll() is None
        time.sleep(0.005)
    return daemon, time.monotonic() - since

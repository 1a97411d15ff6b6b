"""A guest that has the engines and systemd (see tests/vm/test --engines), in which all is installed as people do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import leaks
from tests.engines.machine import STORAGE, Machine
from tests.systemd import host

if TYPE_CHECKING:
    import subprocess

STORES = ("containers", "docker", "containerd")


class Guest(Machine):
    """A Debian whose services systemd manages."""

    bin = host.BIN
    etc = Path("/etc")
    registered = Path("/run/lxcfs-py/containers")
    socket = Path("/run/containerd/containerd.sock")
    parent = ""
    docker: dict[str, Any] = {}  # noqa: RUF012
    containerd = ()
    handlers = ("pyproc", "pyproc-systemd", "runc-view", "crun-view")

    def __init__(self, scale: float) -> None:
        self.scale = scale
        host.install()
        self.serve()
        for name in STORES:  # a guest's disk can't hold layers
            store = Path("/var/lib", name)
            store.mkdir(exist_ok=True)
            host.run("mount", "-t", "tmpfs", "tmpfs", store)
        storage = STORAGE.format(run="/run/containers/storage", lib="/var/lib/containers/storage")
        Path("/etc/containers/storage.conf").write_text(storage)

    def start(self) -> None:
        """Start the engines' services again."""
        host.systemctl("restart", "containerd", "docker")

    def close(self) -> None:
        """Stop the services, and uninstall ours."""
        host.systemctl("stop", "docker.socket", "docker", "containerd")
        self.view.unlink()
        for name in STORES:
            host.run("umount", "--recursive", Path("/var/lib", name))
        for cgroup in leaks.ENGINES:
            leaks.remove_cgroups(cgroup, time.monotonic() + 30 * self.scale)
        self.stop_serving()
        host.wait(lambda: not host.mounts() and not host.processes(), self.scale)
        host.uninstall()

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return host.run(*command, check=check)

    def serve(self) -> None:
        """Start our service."""
        host.systemctl("start", host.SERVICE)

    def stop_serving(self) -> None:
        """Stop it, and unmount."""
        host.systemctl("stop", host.MOUNT)

    def log(self) -> str:
        """Return the journal's end."""
        return host.run("journalctl", "-b", "-q", "--no-pager", "-n", "40", "-o", "cat").stdout

"""The machine that the engines run on: what the tests of both kinds ask of it (``guest`` and ``here``)."""

from __future__ import annotations

import abc
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

STORAGE = """[storage]
driver = "vfs"
runroot = "{run}"
graphroot = "{lib}"
"""
SHIMS = "/run/containerd"
"""What the shims of any containerd use under this name, wherever else all the rest is."""
DAEMON = {"storage-driver": "vfs", "bridge": "none", "iptables": False, "ip6tables": False}
"""What Docker is told: no container has a network."""


class Machine(abc.ABC):
    """Where things are, and what an administrator does there."""

    bin: Path
    """Where ``lxcfs-py`` and ``pyproc`` are."""
    etc: Path
    """What holds the engines' configuration, in the directories of Debian's packages."""
    registered: Path
    """Where containers are registered."""
    socket: Path
    """Containerd's."""
    parent: str
    """The cgroup that is the parent of all containers', "" for what each engine takes by itself."""
    docker: dict[str, Any]
    """Of Docker's configuration, what is this machine's."""
    containerd: tuple[str, ...]
    """Of containerd's, the lines above all tables and those of a few; ``cri`` has the rest."""
    handlers: tuple[str, ...]
    """CRI's handlers that can run here."""

    @property
    def view(self) -> Path:
        """Return the program that is runc with the hook."""
        return self.bin / "runc-with-view"

    def configure(self) -> None:
        """Write what Docker and ctr are told."""
        self.view.write_text(f'#!/bin/sh\nexec {self.bin}/lxcfs-py runtime runc "$@"\n')
        self.view.chmod(0o755)
        view = {"path": str(self.bin / "lxcfs-py"), "runtimeArgs": ["runtime", "runc"]}
        runtimes = {"view": view, "pyproc": {"path": str(self.bin / "pyproc")}}
        file = self.etc / "docker/daemon.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({**DAEMON, "runtimes": runtimes, **self.docker}))

    @abc.abstractmethod
    def start(self) -> None:
        """Start the engines, which are configured."""

    @abc.abstractmethod
    def close(self) -> None:
        """Stop all, and leave the machine as it was."""

    @abc.abstractmethod
    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""

    @abc.abstractmethod
    def serve(self) -> None:
        """Start our daemon."""

    @abc.abstractmethod
    def stop_serving(self) -> None:
        """Stop it."""

    @abc.abstractmethod
    def log(self) -> str:
        """Return what was written last, by the engines and by us."""

    def registrations(self) -> dict[int, str]:
        """Return the ids of what is registered, by first process."""
        found = (json.loads(path.read_text()) for path in self.registered.glob("*.json"))
        return {each["init_pid"]: each["id"] for each in found}

    def until(self, condition: Callable[[], object], scale: float, seconds: float = 20) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds * scale
        while not condition():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

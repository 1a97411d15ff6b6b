"""Podman, containerd and Docker, as people use them, and an image made of this machine's own files."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.engines.machine import Machine

CRUN = pytest.param("podman-crun", marks=pytest.mark.needs_unified)
RUNC = pytest.param("podman-runc", marks=pytest.mark.needs_hybrid)
"""What takes crun's place where that refuses to run."""
MANAGED = [CRUN, RUNC, "docker-view", "podman-pyproc", "docker-pyproc"]
IMAGE = "localhost/small:latest"
APPLETS = ("sh", "cat", "sleep", "head", "grep", "ls", "kill", "tail")
PROGRAMS = ("/usr/bin/free", "/usr/bin/nproc", "/usr/bin/uptime")
"""Programs that read files, as most do; busybox's own ``free`` and ``uptime`` ask sysinfo(2)."""


def image(machine: Machine, directory: Path) -> None:
    """Make an image of busybox and a few programs, and give it to every engine."""
    root = directory / "root"
    (root / "bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    shutil.copy("/bin/busybox", root / "bin")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    for program in PROGRAMS:
        shutil.copy(program, root / "bin")
        for word in machine.run("ldd", program).stdout.split():
            if word.startswith("/"):
                (root / word[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, root / word[1:])
    machine.run("tar", "-C", root, "-cf", directory / "root.tar", ".")
    command = ("--change", 'CMD ["/bin/sleep", "100000"]')  # of the process that holds a pod of CRI's
    machine.run("podman", "import", "--quiet", *command, directory / "root.tar", IMAGE)
    archive = directory / "image.tar"
    machine.run("podman", "save", "--quiet", "--format", "docker-archive", "--output", archive, IMAGE)
    machine.run("docker", "load", "--quiet", "--input", archive)
    for namespace in ("default", "k8s.io"):
        machine.run("ctr", "--namespace", namespace, "images", "import", "--snapshotter", "native", archive)


class Engine:
    """One engine with one runtime."""

    def __init__(self, machine: Machine, name: str, runtime: str) -> None:
        self.machine, self.name, self.runtime = machine, name, runtime
        self.program = [name]
        if name == "podman":
            self.program += ["--runtime", runtime]
        self.started: list[str] = []

    def do(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of its commands to its end."""
        return self.machine.run(*self.program, *words, check=check)

    def _command(self, options: tuple[str, ...], script: str) -> tuple[str, list[str]]:
        """Return a new container's name, and what runs a shell script in it."""
        name = f"c{os.urandom(4).hex()}"
        parent = self.machine.parent
        if self.name == "ctr":
            binary = str(self.machine.view if self.runtime == "view" else self.machine.bin / "pyproc")
            limits = {"-m": "--memory-limit", "--cpus": "--cpus", "-d": "--detach"}
            words = ["--snapshotter", "native", "--runc-binary", binary, *(limits.get(o, o) for o in options)]
            words += ["--cgroup", f"{parent}/{name}"] if parent else []
            named = [IMAGE, name]
        else:
            words = ["--network", "none", *options, *self.parent]
            words += ["--runtime", self.runtime] if self.name == "docker" else []
            named = ["--name", name, IMAGE]
        return name, ["run", *words, *named, "sh", "-c", script]

    @property
    def parent(self) -> list[str]:
        """Return what names the parent cgroup of Podman's containers and pods; Docker is configured."""
        return ["--cgroup-parent", self.machine.parent] if self.machine.parent and self.name == "podman" else []

    def run(self, *options: str, script: str) -> str:
        """Run a shell script in a new container; return what it prints."""
        return self.do(*self._command(("--rm", *options), script)[1]).stdout

    def start(self, *options: str, script: str = "exec sleep 1000") -> str:
        """Start a container in the background; return its name."""
        name, command = self._command(("-d", *options), script)
        self.do(*command)
        self.started.append(name)
        return name

    def inside(self, name: str, script: str) -> str:
        """Run a shell script in a container that runs; return what it prints."""
        if self.name == "ctr":
            return self.do("tasks", "exec", "--exec-id", os.urandom(4).hex(), name, "sh", "-c", script).stdout
        return self.do("exec", name, "sh", "-c", script).stdout

    def pid(self, name: str) -> int:
        """Return a container's first process."""
        if self.name == "ctr":
            lines = self.do("tasks", "ls").stdout.splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith(f"{name} "))
        return int(self.do("inspect", "--format", "{{.State.Pid}}", name).stdout)

    def remove(self, name: str) -> None:
        """Remove a container, running or not."""
        if self.name == "ctr":
            self.do("tasks", "rm", "--force", name, check=False)
            self.do("containers", "rm", name, check=False)
        else:
            self.do("rm", "--force", *(["--time", "0"] if self.name == "podman" else []), name)

    def close(self) -> None:
        """Remove what was started."""
        for name in self.started:
            self.remove(name)

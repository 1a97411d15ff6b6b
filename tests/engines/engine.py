"""Podman, containerd and Docker, as people use them, and an image made of this guest's own files."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.systemd import host

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

IMAGE = "localhost/small:latest"
APPLETS = ("sh", "cat", "sleep", "head", "grep", "ls", "kill", "tail")
PROGRAMS = ("/usr/bin/free", "/usr/bin/nproc", "/usr/bin/uptime")
"""Programs that read files, as most do; busybox's own ``free`` and ``uptime`` ask sysinfo(2)."""
STORES = ("containers", "docker", "containerd")
WRAPPER = Path("/usr/local/bin/runc-with-view")
DAEMON = {
    "storage-driver": "vfs",
    "bridge": "none", "iptables": False, "ip6tables": False,
    "runtimes": {
        "view": {"path": "/usr/local/bin/lxcfs-py", "runtimeArgs": ["runtime", "runc"]},
        "pyproc": {"path": "/usr/local/bin/pyproc"},
    },
}  # fmt: skip
STORAGE = """[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""


def prepare() -> None:
    """Configure the engines for a guest without a network: their storage lies on tmpfs, and no container has one."""
    for name in STORES:
        store = Path("/var/lib", name)
        store.mkdir(exist_ok=True)
        host.run("mount", "-t", "tmpfs", "tmpfs", store)
    Path("/etc/containers/storage.conf").write_text(STORAGE)
    Path("/etc/docker").mkdir(exist_ok=True)
    Path("/etc/docker/daemon.json").write_text(json.dumps(DAEMON))
    WRAPPER.write_text('#!/bin/sh\nexec /usr/local/bin/lxcfs-py runtime runc "$@"\n')
    WRAPPER.chmod(0o755)
    host.systemctl("restart", "containerd", "docker")


def restore() -> None:
    """Undo it."""
    host.systemctl("stop", "docker.socket", "docker", "containerd")
    WRAPPER.unlink()
    for name in STORES:
        host.run("umount", "--recursive", Path("/var/lib", name))


def image(directory: Path) -> None:
    """Make an image of busybox and a few programs, and give it to every engine."""
    root = directory / "root"
    (root / "bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    shutil.copy("/bin/busybox", root / "bin")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    for program in PROGRAMS:
        shutil.copy(program, root / "bin")
        for word in host.run("ldd", program).stdout.split():
            if word.startswith("/"):
                (root / word[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(word, root / word[1:])
    host.run("tar", "-C", root, "-cf", directory / "root.tar", ".")
    host.run("podman", "import", "--quiet", directory / "root.tar", IMAGE)
    archive = directory / "image.tar"
    host.run("podman", "save", "--quiet", "--format", "docker-archive", "--output", archive, IMAGE)
    host.run("docker", "load", "--quiet", "--input", archive)
    host.run("ctr", "images", "import", "--snapshotter", "native", archive)


class Engine:
    """One engine with one runtime."""

    def __init__(self, name: str, runtime: str) -> None:
        self.name, self.runtime = name, runtime
        self.program = [name]
        if name == "podman":
            self.program += ["--runtime", runtime]
        self.started: list[str] = []

    def do(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of its commands to its end."""
        return host.run(*self.program, *words, check=check)

    def _run(self, *options: str) -> list[str]:
        if self.name == "ctr":
            binary = str(WRAPPER) if self.runtime == "view" else "/usr/local/bin/pyproc"
            limits = {"-m": "--memory-limit", "--cpus": "--cpus", "-d": "--detach"}
            return ["run", "--snapshotter", "native", "--runc-binary", binary, *(limits.get(o, o) for o in options)]
        runtime = ["--runtime", self.runtime] if self.name == "docker" else []
        return ["run", "--network", "none", *runtime, *options]

    def run(self, *options: str, script: str) -> str:
        """Run a shell script in a new container; return what it prints."""
        name = f"c{os.urandom(4).hex()}"
        named = [IMAGE, name] if self.name == "ctr" else ["--name", name, IMAGE]
        return self.do(*self._run("--rm", *options), *named, "sh", "-c", script).stdout

    def start(self, *options: str, script: str = "exec sleep 1000") -> str:
        """Start a container in the background; return its name."""
        name = f"c{os.urandom(4).hex()}"
        named = [IMAGE, name] if self.name == "ctr" else ["--name", name, IMAGE]
        self.do(*self._run("-d", *options), *named, "sh", "-c", script)
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
            self.do("rm", "--force", name)

    def close(self) -> None:
        """Remove what was started."""
        for name in self.started:
            self.remove(name)


def until(condition: Callable[[], object], scale: float, seconds: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds * scale
    while not condition():
        assert time.monotonic() < deadline, host.run("journalctl", "-b", "-q", "--no-pager", "-n", "40").stdout
        time.sleep(0.05)

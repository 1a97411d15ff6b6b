"""This machine: engines of the tests' own, beside any others, and all they have in one directory below /tmp."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests import leaks
from tests.engines.machine import SHIMS, STORAGE, Machine
from tests.live.box import BIN, Box

CONTAINERS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{base}/podman/tmp"
volume_path = "{base}/podman/volumes"
hooks_dir = ["{base}/etc/hooks.d"]
runtime_supports_json = ["crun", "runc", "pyproc"]
[engine.runtimes]
pyproc = ["{base}/bin/pyproc"]
"""
"""What Podman is told. (Limits: who lacks CAP_SYS_RESOURCE can't raise them, as it would.)"""
HOOK = Path(__file__).parents[2] / "deploy/oci/hooks.d/50-lxcfs-py.json"
PROGRAMS = {"lxcfs-py": "", "pyproc": "--root {base}/state "}
NAMED = (SHIMS, "/run/docker", "/run/runc", "/var/lib/containers")
"""What containerd's shims, Docker, runc and Podman use under this name, wherever else all the rest is."""
CACHE = "blob-info-cache-v1.boltdb"
"""The one file in it, of Podman's."""


class Here(Machine):
    """Nothing of it is installed, and systemd does not come into it."""

    handlers = ("pyproc", "runc-view")

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.base = Path(tempfile.mkdtemp(prefix="lxcfs-py-engines-"))  # not pytest's: names of sockets are short
        self.parent = f"/{self.base.name}"
        self.bin, self.etc = self.base / "bin", self.base / "etc"
        self.socket = self.base / "containerd.sock"
        self.docker = {
            "containerd": str(self.socket), "data-root": f"{self.base}/docker", "exec-root": f"{self.base}/moby",
            "pidfile": f"{self.base}/docker.pid", "hosts": [f"unix://{self.base}/docker.sock"], "group": "root",
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": self.parent, "ip-forward": False,
            "deprecated-key-path": f"{self.base}/key.json", "log-level": "warn",
        }  # fmt: skip
        self.containerd = (
            f'root = "{self.base}/containerd"', f'state = "{self.base}/shims"',
            "[debug]", 'level = "warn"', "[grpc]", f'address = "{self.socket}"',
            '[plugins."io.containerd.internal.v1.opt"]', f'path = "{self.base}/opt"',
            '[plugins."io.containerd.grpc.v1.cri".cni]', f'conf_dir = "{self.base}/cni"',
        )  # fmt: skip
        self.environment = {
            **os.environ,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "CONTAINERS_CONF": f"{self.etc}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.etc}/storage.conf",
            "CONTAINERD_ADDRESS": str(self.socket),
            "DOCKER_HOST": f"unix://{self.base}/docker.sock",
        }
        self.named = [path for path in NAMED if not os.path.exists(path)]
        self.engines: list[subprocess.Popen[bytes]] = []
        self.box = Box(self.base, scale)
        self._programs()
        self.serve()

    def _programs(self) -> None:
        """Make our programs and the hook, which know where this daemon keeps what runs; and what Podman is told."""
        run = self.box.environment["LXCFS_PY_RUNTIME_DIR"]
        self.bin.mkdir()
        for name, options in PROGRAMS.items():
            words = f'{BIN / name} {options.format(base=self.base)}"$@"'
            (self.bin / name).write_text(f"#!/bin/sh\nLXCFS_PY_RUNTIME_DIR={run} exec {words}\n")
            (self.bin / name).chmod(0o755)
        hook = json.loads(HOOK.read_text())
        hook["hook"]["path"] = str(self.bin / "lxcfs-py")
        (self.etc / "hooks.d").mkdir(parents=True)
        (self.etc / "hooks.d" / HOOK.name).write_text(json.dumps(hook))
        (self.etc / "containers.conf").write_text(CONTAINERS.format(base=self.base))
        places = {"run": f"{self.base}/podman/run", "lib": f"{self.base}/podman/lib"}
        (self.etc / "storage.conf").write_text(STORAGE.format(**places))
        self.registered = Path(run, "lxcfs-py/containers")

    def start(self) -> None:
        """Start containerd, and Docker on it."""
        self._start(self.socket, "containerd", "--config", str(self.etc / "containerd/config.toml"))
        self._start(self.base / "docker.sock", "dockerd", "--config-file", str(self.etc / "docker/daemon.json"))
        self.until(lambda: self.run("docker", "version", check=False).returncode == 0, self.scale, 60)

    def _start(self, socket: Path, *command: str) -> None:
        """Start a daemon, which ends with us, and wait until it listens."""
        with (self.base / "log").open("ab") as log:
            words = ["setpriv", "--pdeathsig", "TERM", *command]
            self.engines.append(subprocess.Popen(words, env=self.environment, stderr=log, stdin=subprocess.DEVNULL))
        self.until(socket.exists, self.scale, 60)

    def close(self) -> None:
        """Stop all, and remove it."""
        self.run("podman", "rm", "--force", "--all", "--time", "0", check=False)
        for engine in reversed(self.engines):
            engine.terminate()
            engine.wait(60 * self.scale)
        self.box.close()
        subprocess.run(["umount", "-q", self.base / "podman/lib/vfs"], check=False)
        leaks.remove_cgroups(self.parent, time.monotonic() + 30 * self.scale)
        shutil.rmtree(self.base)
        for path in self.named:
            for at, _, files in os.walk(path, topdown=False):
                if CACHE in files:
                    os.unlink(f"{at}/{CACHE}")
                os.rmdir(at)  # whatever else is there is not removed with it

    def run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120 * self.scale,
            check=False,
        )
        assert not check or done.returncode == 0, (command, done.returncode, done.stdout, done.stderr, self.log())
        return done

    def serve(self) -> None:
        """Start our daemon."""
        self.box.start_daemon()

    def stop_serving(self) -> None:
        """End it."""
        self.box.stop_daemon()

    def log(self) -> str:
        """Return the end of what all daemons have written."""
        return "\n".join((self.base / "log").read_text(errors="replace").splitlines()[-40:])

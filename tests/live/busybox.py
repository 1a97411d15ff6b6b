"""Bundles made by a test, and runtimes to hand them to: ours, and runc beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
PARENT = "/oci-live"
"""The cgroup that is the parent of these tests'."""
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
HARD = ["nosuid", "noexec", "nodev"]
MASKED = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/acpi"]


def config(*command: str) -> dict[str, Any]:
    """Return a configuration as engines write them."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(command),
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES, "ambient": [],
                "inheritable": [],
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 512, "soft": 512}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": [*HARD, "mode=1777", "size=64m"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": HARD},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*HARD, "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": MASKED,
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }  # fmt: skip


class Bundle:
    """A directory with a root of busybox; ``config`` is written by ``write``."""

    def __init__(self, path: Path, *command: str) -> None:
        self.path = path
        self.root = path / "rootfs"
        for name in ("bin", "etc", "tmp", "dev", "proc", "sys"):
            (self.root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.root / "bin")
        for name in subprocess.run(
            ["/bin/busybox", "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            if name != "busybox":
                os.symlink("busybox", self.root / "bin" / name)
        self.config = config(*command)

    @property
    def linux(self) -> Any:
        """The configuration's Linux part."""
        return self.config["linux"]

    @property
    def process(self) -> Any:
        """The configuration's process."""
        return self.config["process"]

    def run(self, script: str) -> None:
        """Let the command be a script."""
        self.process["args"] = ["sh", "-c", script]

    def mount(self, destination: str, source: str | Path, *options: str, kind: str = "bind") -> None:
        """Add a mount."""
        self.config["mounts"].append(
            {"destination": destination, "type": kind, "source": str(source), "options": list(options)}
        )

    def without(self, *kinds: str) -> None:
        """Leave namespaces out."""
        self.linux["namespaces"] = [each for each in self.linux["namespaces"] if each["type"] not in kinds]

    def join(self, kind: str, path: str) -> None:
        """Join a namespace instead of making one."""
        self.without(kind)
        self.linux["namespaces"].append({"type": kind, "path": path})

    def hook(self, stage: str, script: str, **more: Any) -> None:
        """Add a hook: a shell script of the host's, of the container's for startContainer."""
        shell = "/bin/sh" if stage != "startContainer" else "/bin/busybox"
        env = [f"PATH={os.environ['PATH']}", f"LOG={self.path / 'log'}"]
        each = {"path": shell, "args": ["sh", "-c", script], "env": env, **more}
        self.config.setdefault("hooks", {}).setdefault(stage, []).append(each)

    def write(self) -> Path:
        """Write config.json; return the bundle."""
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self.path


class Runtime:
    """A runtime with a directory of state of its own; no daemon serves it but one of the test's."""

    def __init__(self, name: str, base: Path, scale: float, **environment: str) -> None:
        self.name, self.scale = name, scale
        program = str(BIN / "pyproc") if name == "pyproc" else name
        self.command = [program, "--root", str(base / f"{name}-state")]
        self.environment = {**os.environ, "LXCFS_PY_RUNTIME_DIR": str(base / "run"), **environment}

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """Begin a command."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen([*self.command, *arguments], env=self.environment, text=True, **streams)

    def __call__(self, *arguments: str, check: bool = True, **streams: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; what it leaves running may keep the streams, so they are files."""
        streams = {"stdin": subprocess.DEVNULL, **streams}
        done = subprocess.run(
            [*self.command, *arguments], env=self.environment, text=True, timeout=60 * self.scale, check=False,
            capture_output=True, **streams,
        )  # fmt: skip
        assert not check or done.returncode == 0, (arguments, done.returncode, done.stderr)
        return done

    def quietly(self, *arguments: str) -> int:
        """Run a command whose container inherits nobody's pipes; return its exit code."""
        nowhere = subprocess.DEVNULL
        return subprocess.run(
            [*self.command, *arguments], env=self.environment, stdin=nowhere, stdout=nowhere, stderr=nowhere,
            timeout=60 * self.scale, check=False,
        ).returncode  # fmt: skip

    def status(self, id_: str) -> str:
        """Return a container's status, "" if there is none."""
        done = self("state", id_, check=False)
        return str(json.loads(done.stdout)["status"]) if done.returncode == 0 else ""

    def state(self, id_: str) -> dict[str, Any]:
        """Return a container's state."""
        return dict(json.loads(self("state", id_).stdout))


def left() -> list[str]:
    """Return the cgroups of these tests that are left."""
    tops = ((at, names) for at, names, _ in os.walk("/sys/fs/cgroup") if os.path.basename(at) == PARENT[1:])
    return [f"{at}/{name}" for at, names in tops for name in names]


def until(runtime: Runtime, id_: str, status: str) -> None:
    """Wait for a status."""
    deadline = time.monotonic() + 20 * runtime.scale
    while (now := runtime.status(id_)) != status:
        assert time.monotonic() < deadline, now
        time.sleep(0.02)

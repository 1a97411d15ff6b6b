"""OCI bundles for the runtimes of others, with the hook in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.live.box import BIN

if TYPE_CHECKING:
    from tests.live.box import Box

BUSYBOX = "/bin/busybox"


class Bundle:
    """One container's bundle, whose root has busybox alone; ``config`` may be changed until it is run."""

    def __init__(self, box: Box, runtime: str, name: str, *stages: str) -> None:
        self.box, self.runtime, self.name = box, runtime, name
        self.path = box.base / f"bundle-{name}"
        self.root = self.path / "rootfs"
        (self.root / "bin").mkdir(parents=True)
        shutil.copy(BUSYBOX, self.root / "bin/busybox")
        subprocess.run(["runc", "spec", "--bundle", self.path], check=True)
        self.config: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False
        self.config["linux"]["cgroupsPath"] = f"/pyproc-test-{name}"
        self.config["linux"]["resources"]["memory"] = {"limit": 64 << 20}
        if runtime == "crun":  # what engines ask for on cgroup v2
            self.config["linux"]["namespaces"].append({"type": "cgroup"})
        hook: dict[str, Any] = {"path": str(BIN / "lxcfs-py"), "args": ["lxcfs-py", "hook"]}
        hook["env"] = [f"LXCFS_PY_RUNTIME_DIR={box.environment['LXCFS_PY_RUNTIME_DIR']}"]
        self.config["hooks"] = {stage: [hook] for stage in (*(stages or ("createRuntime",)), "poststop")}

    def namespace(self, kind: str, **about: str) -> None:
        """Change how the container has a namespace: ``path`` for another's; the host's without one at all."""
        namespaces = self.config["linux"]["namespaces"]
        namespaces[:] = [namespace for namespace in namespaces if namespace["type"] != kind]
        if about:
            namespaces.append({"type": kind, **about})

    def users(self) -> None:
        """Give it a user namespace, to whose root its files belong."""
        self.config["linux"]["namespaces"].append({"type": "user"})
        mapped = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        self.config["linux"].update(uidMappings=mapped, gidMappings=mapped)
        for path in (self.root, *self.root.rglob("*")):
            os.chown(path, 100000, 100000, follow_symlinks=False)
        for parent in self.root.parents:
            parent.chmod(parent.stat().st_mode | 0o111)

    def command(self, *words: str) -> list[str]:
        """Return a command line of the runtime."""
        return [self.runtime, "--root", str(self.box.base / self.runtime), *words]

    def do(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the runtime to its end."""
        # Files, because the container keeps the descriptors: a pipe would not end before it.
        with (self.box.base / "out").open("w+") as out, (self.box.base / "err").open("w+") as err:
            done = subprocess.run(
                self.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=60 * self.box.scale,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            found = subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())
        assert not check or found.returncode == 0, (found.args, found.returncode, found.stdout, found.stderr)
        return found

    def write(self, script: str) -> None:
        """Write config.json, with a shell script as the command."""
        self.config["process"]["args"] = ["/bin/busybox", "sh", "-c", f"alias cat='busybox cat'; {script}"]
        (self.path / "config.json").write_text(json.dumps(self.config))

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the container to its end, whose ``/bin`` has busybox."""
        self.write(script)
        return self.do("run", "--bundle", str(self.path), self.name, check=check)

    def start(self) -> None:
        """Start it to sleep in the background."""
        self.write("exec busybox sleep 1000")
        self.do("run", "--detach", "--bundle", str(self.path), self.name)

    def inside(self, script: str) -> str:
        """Return what a shell script prints in the container that was started."""
        return self.do("exec", self.name, "/bin/busybox", "sh", "-c", script).stdout

    def state(self) -> dict[str, Any]:
        """Return the runtime's state."""
        found: dict[str, Any] = json.loads(self.do("state", self.name).stdout)
        return found

    def delete(self) -> None:
        """Remove it, running or not."""
        self.do("delete", "--force", self.name)

    def registered(self) -> Path:
        """Return where its registration is."""
        return Path(self.box.environment["LXCFS_PY_RUNTIME_DIR"], f"lxcfs-py/containers/{self.name}.json")

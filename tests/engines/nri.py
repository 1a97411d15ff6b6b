"""A containerd of Debian 13, which has NRI, with places of its own, and our plugin beside it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]  # it has no types

from tests import images
from tests.engines import cri, engine
from tests.engines.machine import SHIMS
from tests.live.box import BIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.live.box import Box

FETCH = Path(__file__).with_name("trixie")
CRUN = ("crun", "libc6", "libcap2", "libseccomp2", "libsystemd0", "libyajl2")
"""Debian 12's crun takes no bundle of this containerd (specification 1.2), and this one needs its own libraries."""
APPLETS = ("sh", "head", "grep", "sleep")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PARENT = f"/pyproc-nri-{os.getpid()}"
"""The cgroup that is the parent of all these."""
CONFIG = """version = 2
root = "{base}/root"
state = "{base}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{base}/containerd.sock"
[plugins."io.containerd.nri.v1.nri"]
disable = false
socket_path = "{base}/nri.sock"
plugin_path = "{base}/plugins"
plugin_config_path = "{base}/conf.d"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
disable_tcp_service = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{base}/cni"
conf_dir = "{base}/cni.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"""
RUNTIME = """[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
BinaryName = "{program}"
Root = "{base}/of-{name}"
"""


def fetched(*packages: str) -> Path:
    """Return the folder of packages of Debian 13, which is made where there is none."""
    done = subprocess.run([FETCH, *packages], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def program(runtime: str, directory: Path) -> Path:
    """Return a runtime's program: runc is this system's, pyproc ours, crun a script below ``directory``."""
    if runtime != "crun":
        return Path(shutil.which(runtime, path=f"{BIN}:{os.environ['PATH']}") or runtime)
    folder, found = fetched(*CRUN), directory / "crun"
    libraries = f"{folder / LIBRARIES}:/{LIBRARIES[4:]}"
    loader = folder / LIBRARIES / "ld-linux-x86-64.so.2"
    found.write_text(f'#!/bin/sh\nexec {loader} --library-path {libraries} {folder}/usr/bin/crun "$@"\n')
    found.chmod(0o755)
    return found


class Containerd:
    """It, until it is closed; ``plugin`` starts ours, which speaks to it."""

    def __init__(self, box: Box, runtimes: tuple[str, ...]) -> None:
        self.box = box
        self.base = box.base / "containerd"
        self.socket = self.base / "containerd.sock"
        self.programs = fetched("containerd") / "usr/bin"
        self.environment = {**box.environment, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        self.named = not os.path.exists(SHIMS)
        self.base.mkdir()
        (self.base / "plugins").mkdir()
        config = [CONFIG.format(base=self.base, image=engine.IMAGE)]
        config += [RUNTIME.format(base=self.base, name=name, program=program(name, self.base)) for name in runtimes]
        (self.base / "config.toml").write_text("".join(config))
        self.served = self.start()
        self.plugged: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it serves CRI; it becomes the one that is ended with the rest."""
        with (self.base / "log").open("ab") as log:
            self.served = subprocess.Popen(
                [self.programs / "containerd", "--config", self.base / "config.toml"],
                env=self.environment, stdin=subprocess.DEVNULL, stderr=log, stdout=log,
            )  # fmt: skip
        self.until(lambda: self.ctr("version", check=False).returncode == 0)
        return self.served

    def kill(self) -> None:
        """Kill it; what it has started runs on."""
        self.served.kill()
        self.served.wait()

    def ctr(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run its client."""
        command = [self.programs / "ctr", "--address", self.socket, "--namespace", "k8s.io", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, (words, done.stderr)
        return done

    def log(self) -> str:
        """Return what it has logged."""
        return (self.base / "log").read_text(errors="replace")

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + 20 * self.box.scale
        while not condition():
            assert time.monotonic() < deadline, self.log()[-4000:]
            time.sleep(0.02)

    def image(self) -> None:
        """Give it an image of busybox, which the first process of a pod has, too."""
        programs = [images.member("bin/busybox", data=Path("/bin/busybox").read_bytes(), mode=0o755)]
        links = [images.member(f"bin/{name}", "symlink", linkname="busybox") for name in APPLETS]
        layer = images.tar(images.member("bin", "dir"), *programs, *links)
        archive = self.base / "image.tar"
        archive.write_bytes(images.docker_archive([layer], engine.IMAGE, Cmd=["/bin/sleep", "100000"]))
        self.ctr("images", "import", "--snapshotter", "native", archive)
        archive.unlink()
        self.until(lambda: cri.knows(self.socket, engine.IMAGE))

    def plugin(self) -> subprocess.Popen[bytes]:
        """Start our plugin as a service does, and wait until it is registered."""
        before = self.registered()
        with (self.base / "plugin").open("ab") as log:
            self.plugged = subprocess.Popen(
                [BIN / "lxcfs-py", "nri", "--socket", self.base / "nri.sock"],
                env=self.environment, stdin=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self.until(lambda: self.registered() > before)
        return self.plugged

    def unplug(self) -> None:
        """Kill the plugin."""
        assert self.plugged is not None
        self.plugged.kill()
        self.plugged.wait()
        self.plugged = None

    def registered(self) -> int:
        """Return how often containerd has listed a plugin of ours among those that it asks."""
        return self.log().count('#1: \\"10-lxcfs-py\\"')

    def registrations(self) -> list[str]:
        """Return the containers that the daemon knows."""
        found = Path(self.environment["LXCFS_PY_RUNTIME_DIR"], "lxcfs-py/containers").glob("*.json")
        return sorted(path.stem for path in found)

    def spec(self, id_: str) -> Mapping[str, Any]:
        """Return the configuration that a container's runtime was given."""
        path = self.base / f"state/io.containerd.runtime.v2.task/k8s.io/{id_}/config.json"
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def close(self) -> None:
        """End all."""
        if self.plugged is not None:
            self.plugged.send_signal(signal.SIGTERM)
            self.plugged.wait(20 * self.box.scale)
        self.served.send_signal(signal.SIGTERM)
        self.served.wait(20 * self.box.scale)
        for at, names, _ in os.walk("/sys/fs/cgroup"):
            if PARENT[1:] in names:
                os.rmdir(f"{at}/{PARENT[1:]}")
        for at, _, _ in os.walk(SHIMS, topdown=False) if self.named else ():
            os.rmdir(at)
        shutil.rmtree(self.base)


class Pod(cri.Cri):
    """A pod of this containerd's."""

    def __init__(self, containerd: Containerd, handler: str, annotations: Mapping[str, str]) -> None:
        self.machine = containerd
        self.channel = grpc.insecure_channel(f"unix://{containerd.socket}")
        self.config = {
            1: {1: "pod", 2: os.urandom(4).hex(), 3: "default", 4: 1},
            7: [{1: key, 2: value} for key, value in annotations.items()],
            8: {1: PARENT, 2: {1: {1: cri.NODE}}},
        }
        self.containers: list[str] = []
        self.id = self.call("RunPodSandbox", {1: self.config, 2: handler})[1].decode()


class Pods:
    """The pods of a test."""

    def __init__(self, containerd: Containerd) -> None:
        self.containerd = containerd
        self.started: list[Pod] = []

    def start(self, runtime: str, annotations: Mapping[str, str] | None = None) -> Pod:
        """Start one."""
        self.started.append(Pod(self.containerd, runtime, annotations or {}))
        return self.started[-1]

    def close(self) -> None:
        """Remove all."""
        for pod in self.started:
            pod.close()

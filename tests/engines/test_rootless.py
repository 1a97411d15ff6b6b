"""Podman as an ordinary user runs it: its containers have the view from the system's daemon, by who reads."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.engine import IMAGE
from tests.engines.here import CONTAINERS
from tests.engines.machine import STORAGE
from tests.live import test_rootless as live
from tests.live.box import BIN, sigkill
from tests.systemd import host
from tests.systemd.test_user_scope import AS_USER, NAME, RUNTIME, UID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.machine import Machine

SEEN = "head -n 1 /proc/meminfo; grep -c ^processor /proc/cpuinfo; head -n 1 /proc/uptime"


class Ordinary:
    """A user of this machine who has Podman."""

    def __init__(self, *enter: str | Path) -> None:
        self.enter = enter

    def shell(self, script: str) -> str:
        """Run a shell script of it; return what it prints. What that leaves running may be ended with it."""
        return host.run(*self.enter, "sh", "-c", script).stdout

    def run(self, *options: str, script: str = SEEN) -> list[str]:
        """Run a shell script in a new container; return the lines it prints."""
        command = ["podman", "--runtime", "pyproc", "run", "--rm", "--network", "none", *options, IMAGE]
        return self.shell(shlex.join([*command, "sh", "-c", script])).splitlines()


def here(scale: float) -> Iterator[Ordinary]:
    """Yield a user who is none but in namespaces of its own."""
    base = Path(tempfile.mkdtemp(prefix="lxcfs-py-user-"))
    base.chmod(0o755)
    user, home = live.User(base, scale), base / "home"
    program = home / "bin/pyproc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nLXCFS_PY_RUNTIME_DIR={base}/run exec {BIN}/pyproc "$@"\n')
    program.chmod(0o755)
    places = {"run": f"{base}/xdg/containers", "lib": f"{home}/containers"}
    for name, text in (("containers", CONTAINERS.format(base=home)), ("storage", STORAGE.format(**places))):
        (home / f"{name}.conf").write_text(text)
    told = (f"CONTAINERS_CONF={home}/containers.conf", f"CONTAINERS_STORAGE_CONF={home}/storage.conf")
    try:
        yield Ordinary(*user.enter, "env", "--chdir=/", *told)
    finally:
        for pid in live.processes():  # Podman keeps one to hold its namespaces
            sigkill(pid)
        deadline = time.monotonic() + 20 * scale
        while live.processes():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        user.close()
        shutil.rmtree(base)


def guest(machine: Machine, scale: float) -> Iterator[Ordinary]:
    """Yield a user who has a systemd, and whose commands that runs, as in a session."""
    host.run("useradd", "-m", "-u", str(UID), NAME)
    for file in ("subuid", "subgid"):
        Path("/etc", file).write_text(f"{NAME}:300000:65536\n")
    host.systemctl("start", f"user@{UID}.service")
    session = (f"XDG_RUNTIME_DIR={RUNTIME}", f"DBUS_SESSION_BUS_ADDRESS=unix:path={RUNTIME}/bus")
    try:
        yield Ordinary(*AS_USER, *session, "systemd-run", "--user", "--pipe", "--wait", "--quiet", "--collect")
    finally:
        host.systemctl("stop", f"user@{UID}.service")
        machine.stop_serving()  # the agent that answers the user's calls would stay for a while
        host.wait(lambda: host.run("userdel", "-r", NAME, check=False).returncode == 0, scale)
        machine.serve()


@pytest.fixture(scope="module")
def user(
    machine: Machine, lane: str, time_scale: float, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ordinary]:
    """Yield a user who has the image."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        archive = Path(directory, "image.tar")
        machine.run("podman", "save", "--quiet", "--format", "docker-archive", "--output", archive, IMAGE)
        archive.chmod(0o644)
        for found in here(time_scale) if lane == "here" else guest(machine, time_scale):
            found.shell(f"podman load --quiet --input {archive}")
            yield found


@pytest.mark.anywhere
def test_run(user: Ordinary) -> None:
    """The age is the container's; memory too, where the user has a cgroup to limit it by."""
    _, _, uptime = user.run()
    assert float(uptime.split()[0]) < 60


@pytest.mark.needs_unified
@pytest.mark.needs_systemd
def test_limits(user: Ordinary) -> None:
    """A user's systemd makes the cgroup: limits hold, and the container sees them, whoever enters it."""
    total, cpus, _ = user.run("-m", "64m", "--cpus", "1")
    assert (total.split()[1], cpus) == ("65536", "1")


@pytest.mark.anywhere
def test_exec(user: Ordinary) -> None:
    """A container in the background is entered and removed."""
    verbs = (
        f"--runtime pyproc run -d --name c --network none {IMAGE} sleep 1000",
        "exec c head -n 1 /proc/uptime",
        "rm --force --time 0 c",
        "ps --all --quiet",
    )
    script = " && ".join(f"podman {verb}" for verb in verbs)
    _, uptime, *rest = user.shell(script).splitlines()
    assert float(uptime.split()[0]) < 120
    assert rest == ["c"]

"""What people do with engines: their containers see their own limits, whatever is done to them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.engine import CRUN, IMAGE, MANAGED, RUNC
from tests.systemd import host

if TYPE_CHECKING:
    from tests.engines.engine import Engine
    from tests.engines.machine import Machine

MEMORY = ("-m", str(64 << 20))
TOTAL = "MemTotal:          65536 kB\n"
SMALLER = "MemTotal:          49152 kB\n"
READ = "head -n 1 /proc/meminfo"
NOBODY = "no lxcfs-py daemon serves"


def test_run(machine: Machine, anyone: Engine) -> None:
    """Memory, CPUs and age are the container's, in files and in the programs that read them; then nothing is left."""
    script = (
        f"{READ}; /bin/free -k; grep -c ^processor /proc/cpuinfo; grep -c ^cpu[0-9] /proc/stat; "
        "head -n 1 /sys/devices/system/cpu/online; head -n 1 /proc/uptime"
    )
    total, _, free, *rest, uptime = anyone.run(*MEMORY, "--cpus", "1", script=script).splitlines()
    assert total == TOTAL.strip()
    assert free.split()[:2] == ["Mem:", "65536"]
    assert rest[-3:] == ["1", "1", "0"]
    assert float(uptime.split()[0]) < 60
    assert machine.registrations() == {}


@pytest.mark.anywhere
def test_exec(machine: Machine, anyone: Engine) -> None:
    """Whatever enters a container that runs sees the same; it is registered by its first process while it runs."""
    name = anyone.start(*MEMORY)
    assert list(machine.registrations()) == [anyone.pid(name)]
    assert anyone.inside(name, READ) == TOTAL
    anyone.remove(name)
    assert machine.registrations() == {}


def test_update(managed: Engine) -> None:
    """A limit that `update` changes is seen at once."""
    name = managed.start(*MEMORY)
    managed.do("update", "--memory", "48m", "--memory-swap", "96m", name)
    assert managed.inside(name, READ) == SMALLER


@pytest.mark.needs_systemd
@pytest.mark.parametrize("managed", ["podman-pyproc", "docker-pyproc"], indirect=True)
def test_scope(managed: Engine) -> None:
    """A container is a scope of systemd's, which is what these engines ask for, and has gone with it."""
    name = managed.start(*MEMORY)
    with open(f"/proc/{managed.pid(name)}/cgroup", encoding="utf-8") as file:
        unit = file.read().strip().rpartition("/")[2]
    assert host.about("MemoryMax", unit) == str(64 << 20)
    managed.do("update", "--memory", "48m", "--memory-swap", "96m", name)
    assert host.about("MemoryMax", unit) == str(48 << 20)
    managed.remove(name)
    assert host.about("LoadState", unit) == "not-found"


@pytest.mark.anywhere
def test_pause_kill_stop_restart(machine: Machine, managed: Engine, time_scale: float) -> None:
    """Pause, stats, logs, kill, stop and restart work on a container with the view, and leave it."""
    name = managed.start(*MEMORY, script=f"{READ}; exec sleep 1000")
    managed.do("pause", name)
    managed.do("unpause", name)
    stats = managed.do("stats", "--no-stream", "--format", "{{.MemUsage}}", name).stdout
    assert "64MiB" in stats or "67.11MB" in stats
    machine.until(lambda: managed.do("logs", name).stdout == TOTAL, time_scale)
    managed.do("restart", "--time", "1", name)
    assert managed.inside(name, READ) == TOTAL
    assert list(machine.registrations()) == [managed.pid(name)]
    managed.do("kill", name)
    machine.until(lambda: machine.registrations() == {}, time_scale)
    managed.do("start", name)
    assert managed.inside(name, READ) == TOTAL
    managed.do("stop", "--time", "1", name)
    machine.until(lambda: machine.registrations() == {}, time_scale)


BY_PS = [pytest.param(name, marks=pytest.mark.needs_procps) for name in ("docker-view", "docker-pyproc")]


@pytest.mark.anywhere
@pytest.mark.parametrize("managed", [CRUN, RUNC, "podman-pyproc", *BY_PS], indirect=True)
def test_top(managed: Engine) -> None:
    """`top` shows a container's processes; Docker's is the host's ps(1)."""
    assert "sleep 1000" in managed.do("top", managed.start(*MEMORY)).stdout


@pytest.mark.anywhere
def test_options(managed: Engine) -> None:
    """With the host's processes in sight, a read-only root and another user, it is the same."""
    options = ("--pid", "host", "--read-only", "--user", "1000:1000")
    assert managed.run(*MEMORY, *options, script=READ) == TOTAL


WITH_ALL = [pytest.param(name, marks=pytest.mark.needs_rights) if name == "docker-view" else name for name in MANAGED]


@pytest.mark.anywhere
@pytest.mark.parametrize("managed", WITH_ALL, indirect=True)
def test_privileged(managed: Engine) -> None:
    """So it is with all rights; runc fails to give what root itself has not, where Docker asks for it."""
    assert managed.run(*MEMORY, "--privileged", script=READ) == TOTAL


@pytest.mark.anywhere
def test_users(podman: Engine) -> None:
    """A user namespace changes nothing."""
    options = ("--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000")
    assert podman.run(*MEMORY, *options, script=READ) == TOTAL


def test_pod(machine: Machine, podman: Engine) -> None:
    """In a pod with one pid namespace each container sees its own limits, not those of the pod's first one.

    Where systemd makes the cgroups, the pod is a slice of its, and the containers are scopes in that.
    """
    infra = ("--infra-image", IMAGE, "--infra-command", "sleep 1000")
    shared = ("--network", "none", "--share", "pid,ipc,uts,net")
    podman.do("pod", "create", "--name", "pod", *shared, *podman.parent, *infra)
    try:
        script = ("sh", "-c", READ)
        for megabytes, seen in (("64m", TOTAL), ("48m", SMALLER)):
            done = podman.do("run", "--rm", "--pod", "pod", "-m", megabytes, IMAGE, *script)
            assert done.stdout == seen
        if not machine.parent:
            (slice_,) = Path("/sys/fs/cgroup/machine.slice").glob("machine-libpod_pod_*.slice")
            assert [path.name for path in slice_.glob("libpod-*.scope") if "-conmon-" not in path.name]
    finally:
        podman.do("pod", "rm", "--force", "--time", "0", "pod")


@pytest.mark.anywhere
def test_off_and_require(machine: Machine, podman: Engine) -> None:
    """By annotation a container keeps the kernel's files; one that requires the view needs a daemon."""
    assert podman.run(*MEMORY, "--annotation", "io.lxcfs-py.view=off", script=READ) != TOTAL
    required = (*MEMORY, "--annotation", "io.lxcfs-py.view=require")
    assert podman.run(*required, script=READ) == TOTAL
    machine.stop_serving()
    try:
        since = time.time()
        seen = podman.run(*MEMORY, script=READ)
        assert seen.startswith("MemTotal:") and seen != TOTAL
        with pytest.raises(AssertionError, match="executing hook" if podman.runtime == "crun" else NOBODY):
            podman.run(*required, script="true")
    finally:
        machine.serve()
    assert podman.run(*required, script=READ) == TOTAL
    if podman.runtime == "crun":  # which discards what the hook says: systemd's journal has it
        said = machine.run("journalctl", "-q", "-b", "-t", "lxcfs-py-hook", "--since", f"@{since:.0f}", "-o", "cat")
        first, _ = said.stdout.splitlines()
        assert first.endswith(f"{NOBODY}; start it: systemctl start lxcfs-py; it starts with the kernel's own /proc")


@pytest.mark.needs_systemd
def test_restart_of_the_service(podman: Engine) -> None:
    """A restart of the service is not noticed by a container that runs, nor by one that starts meanwhile."""
    name = podman.start(*MEMORY)
    host.systemctl("restart", "--no-block", host.SERVICE)
    assert podman.run(*MEMORY, script=READ) == TOTAL
    assert podman.inside(name, READ) == TOTAL


@pytest.mark.anywhere
def test_many(machine: Machine, podman: Engine) -> None:
    """Containers that come and go side by side see their own limits each."""
    names = {podman.start("-m", f"{megabytes}m"): megabytes for megabytes in (32, 48, 64)}
    for name, megabytes in names.items():
        assert podman.inside(name, READ).split()[1] == str(megabytes << 10)
    assert len(machine.registrations()) == len(names)
    assert all(os.path.exists(f"/proc/{pid}") for pid in machine.registrations())

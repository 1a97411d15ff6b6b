"""The hook gives containers of crun and runc the view, and never harms one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.box import BIN, Box
from tests.live.hooked import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RUNTIMES = ("runc",) if os.path.isdir("/sys/fs/cgroup/memory") else ("crun", "runc")
"""Debian's crun refuses to run beside v1 hierarchies."""
TOTAL = "MemTotal:          65536 kB"
MEMORY = "busybox head -n 1 /proc/meminfo"
VIEW = "io.lxcfs-py.view"


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> str:
    """Return a runtime: the first that works here, or each for tests that are ``both``."""
    return str(getattr(request, "param", RUNTIMES[0]))


both = pytest.mark.parametrize("runtime", RUNTIMES, indirect=True)


@pytest.fixture
def make(box: Box, runtime: str) -> Iterator[Callable[..., Bundle]]:
    """Yield what makes a bundle, for a box and with stages for the hook; afterwards nothing of them is left."""
    made: list[Bundle] = []

    def make(*stages: str, within: Box = box) -> Bundle:
        made.append(Bundle(within, runtime, f"hook{os.urandom(4).hex()}", *stages))
        return made[-1]

    yield make
    for bundle in made:
        bundle.delete()
        assert not bundle.registered().exists()


@pytest.fixture
def bundle(make: Callable[..., Bundle]) -> Bundle:
    """Return a bundle."""
    return make()


@pytest.fixture
def idle(tmp_path: Path, time_scale: float) -> Iterator[Box]:
    """Yield a box that has no daemon, or one of the test's own."""
    tmp_path.chmod(0o755)
    found = Box(tmp_path, time_scale)
    yield found
    found.stop_daemon()


@both
def test_limits_are_seen(bundle: Bundle) -> None:
    """A container of another runtime sees its limits, in every file that is served, and again in `exec`."""
    bundle.config["linux"]["resources"]["cpu"] = {"quota": 50000, "period": 100000}
    bundle.start()
    script = (
        f"{MEMORY}; busybox grep -c ^processor /proc/cpuinfo; busybox grep -c ^cpu[0-9] /proc/stat; "
        "busybox head -n 1 /sys/devices/system/cpu/online; busybox cut -d. -f1 /proc/uptime"
    )
    *first, up = bundle.inside(script).splitlines()
    assert first == [TOTAL, "1", "1", "0"]
    assert int(up) < 60 * bundle.box.scale
    registration = json.loads(bundle.registered().read_text())
    assert registration["init_pid"] == bundle.state()["pid"]
    paths = {path for name, path in registration["cgroups"].items() if name in ("memory", "")}
    assert f"/pyproc-test-{bundle.name}" in paths


def test_a_limit_that_changes_is_seen(bundle: Bundle) -> None:
    """`update` is seen by the container that runs."""
    bundle.start()
    bundle.do("update", "--memory", str(32 << 20), bundle.name)
    assert bundle.inside(MEMORY) == "MemTotal:          32768 kB\n"


@pytest.mark.anywhere
def test_the_views_are_read_only(bundle: Bundle) -> None:
    """What is bound can't be written, unmounted or executed from inside, not even by its root."""
    script = "busybox grep -c fuse.lxcfs-py /proc/self/mountinfo; busybox grep fuse.lxcfs-py /proc/self/mountinfo"
    count, *lines = bundle.run(script).stdout.splitlines()
    assert int(count) >= 8
    for line in lines:
        path, options = line.split()[4:6]
        assert {"nosuid", "nodev", "noexec"} <= set(options.split(","))
        assert ("ro" in options.split(",")) != path.startswith("/proc/pressure/")


@pytest.mark.anywhere
@both
def test_unregistered_afterwards(bundle: Bundle) -> None:
    """When it has ended and was removed, it is registered no more."""
    assert TOTAL in bundle.run(MEMORY).stdout
    assert not bundle.registered().exists()


@pytest.mark.anywhere
def test_off(bundle: Bundle) -> None:
    """By annotation a container keeps the kernel's files."""
    bundle.config["annotations"] = {VIEW: "off"}
    assert TOTAL not in bundle.run(MEMORY).stdout


@pytest.mark.anywhere
@both
def test_without_a_daemon(make: Callable[..., Bundle], runtime: str, idle: Box) -> None:
    """Where no daemon serves a container starts with the kernel's files; one that requires it is told why not."""
    bundle = make(within=idle)
    done = bundle.run(MEMORY)
    assert done.stdout.startswith("MemTotal:")
    assert TOTAL not in done.stdout
    bundle.delete()
    bundle.config["annotations"] = {VIEW: "require"}
    done = bundle.run(MEMORY, check=False)
    assert done.returncode != 0
    assert "MemTotal" not in done.stdout
    if runtime == "runc":  # crun throws away what hooks say
        assert "no lxcfs-py daemon serves" in done.stderr


@pytest.mark.anywhere
def test_a_daemon_that_hangs(make: Callable[..., Bundle], idle: Box) -> None:
    """A daemon that does not answer costs a start some seconds, and leaves neither mounts nor a registration."""
    daemon = idle.start_daemon("--workers", "1")
    everyone = [daemon.pid]
    for pid in everyone:
        everyone += [int(word) for word in _read(f"/proc/{pid}/task/{pid}/children").split()]
    bundle = make(within=idle)
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        since = time.monotonic()
        done = bundle.run(f"{MEMORY}; busybox grep -c fuse.lxcfs-py /proc/self/mountinfo", check=False)
        took = time.monotonic() - since
    finally:
        for pid in everyone:
            os.kill(pid, signal.SIGCONT)
    assert done.stdout.splitlines()[-1] == "0"
    assert TOTAL not in done.stdout
    assert took < 5 + 5 * idle.scale
    assert not bundle.registered().exists()


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


@pytest.mark.anywhere
def test_no_proc_of_its_own(bundle: Bundle) -> None:
    """A container without a procfs gets nothing: what its root has at /proc, links among it, is left alone."""
    bundle.config["mounts"] = [
        mount for mount in bundle.config["mounts"] if mount["destination"] not in ("/proc", "/sys")
    ]
    bundle.config["linux"].update(maskedPaths=[], readonlyPaths=[])
    outside = bundle.box.base / "outside"
    outside.write_text("outside\n")
    (bundle.root / "proc").mkdir()
    (bundle.root / "proc/meminfo").symlink_to(outside)
    (bundle.root / "proc/stat").write_text("image\n")
    (bundle.root / "sys").symlink_to("/sys")
    done = bundle.run("busybox head -n 1 /proc/stat", check=False)
    assert "cpu" not in done.stdout
    assert outside.read_text() == "outside\n"
    assert (bundle.root / "proc/stat").read_text() == "image\n"


@pytest.mark.anywhere
def test_what_was_bound_on_purpose_stays(bundle: Bundle) -> None:
    """A file that the container's own configuration has put there is not covered; all others are."""
    own = bundle.box.base / "own"
    own.write_text("own\n")
    mount = {"destination": "/proc/uptime", "source": str(own), "type": "bind", "options": ["bind", "ro"]}
    bundle.config["mounts"].append(mount)
    done = bundle.run(f"busybox head -n 1 /proc/uptime; {MEMORY}")
    assert done.stdout.splitlines() == ["own", TOTAL]


@both
def test_users(bundle: Bundle) -> None:
    """A container with a user namespace of its own is registered, and sees its limits."""
    bundle.users()
    bundle.start()
    assert bundle.registered().exists()
    assert bundle.inside(MEMORY).strip() == TOTAL


def test_processes_of_the_host(bundle: Bundle) -> None:
    """With the host's processes in sight, its own limits are seen."""
    bundle.namespace("pid")
    bundle.start()
    assert bundle.inside(MEMORY).strip() == TOTAL


@both
def test_a_pod(make: Callable[..., Bundle]) -> None:
    """Containers that share one pid namespace see their own limits each."""
    first, second = make(), make()
    first.start()
    second.namespace("pid", path=f"/proc/{first.state()['pid']}/ns/pid")
    second.config["linux"]["resources"]["memory"]["limit"] = 32 << 20
    second.start()
    assert first.inside(MEMORY).strip() == TOTAL
    assert second.inside(MEMORY) == "MemTotal:          32768 kB\n"


@pytest.mark.anywhere
@both
@pytest.mark.parametrize("cgroup", ["private", "host"])
def test_at_create_container(make: Callable[..., Bundle], cgroup: str) -> None:
    """At createContainer, within the container's namespaces, it is registered under the host's names all the same."""
    bundle = make("createContainer")
    bundle.namespace("cgroup")
    if cgroup == "private":
        bundle.config["linux"]["namespaces"].append({"type": "cgroup"})
    bundle.start()
    registration = json.loads(bundle.registered().read_text())
    assert registration["init_pid"] == bundle.state()["pid"]
    paths = {path for name, path in registration["cgroups"].items() if name in ("memory", "")}
    assert f"/pyproc-test-{bundle.name}" in paths
    assert bundle.inside(MEMORY).strip() == TOTAL


@pytest.mark.anywhere
@both
def test_users_at_create_container(make: Callable[..., Bundle]) -> None:
    """There a user namespace's root may not register it; it has the view by caller."""
    bundle = make("createContainer")
    bundle.users()
    bundle.start()
    assert not bundle.registered().exists()
    assert bundle.inside(MEMORY).strip() == TOTAL


@pytest.mark.anywhere
def test_at_several_stages(make: Callable[..., Bundle]) -> None:
    """Configured twice, it does its work once."""
    bundle = make("prestart", "createRuntime", "createContainer")
    done = bundle.run("busybox grep -c ' /proc/meminfo ' /proc/self/mountinfo")
    assert done.stdout.strip() == "1"


@pytest.mark.anywhere
def test_a_start_that_fails(make: Callable[..., Bundle]) -> None:
    """The registration of a container that never came to run goes with the next one that ends."""
    bundle, other = make(), make()
    bundle.write("true")
    bundle.config["process"]["args"] = ["/nonexistent"]
    (bundle.path / "config.json").write_text(json.dumps(bundle.config))
    assert bundle.do("run", "--bundle", str(bundle.path), bundle.name, check=False).returncode != 0
    other.run("true")
    assert not bundle.registered().exists()


@pytest.mark.anywhere
def test_a_name_that_is_taken(make: Callable[..., Bundle]) -> None:
    """Of two containers by one name, of two engines, the second has the view by caller, the first its own."""
    first, second = make(), make()
    second.name = first.name
    second.config["linux"]["cgroupsPath"] += "-other"
    second.config["linux"]["resources"]["memory"]["limit"] = 32 << 20
    first.start()
    second.write(MEMORY)
    command = second.command("run", "--bundle", str(second.path), second.name)
    command[2] += "-other"
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    assert done.stdout == "MemTotal:          32768 kB\n"
    assert first.registered().exists()
    assert first.inside(MEMORY).strip() == TOTAL


@pytest.mark.anywhere
@pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": 1, "bundle": "/", "status": "creating"}', "\0"])
def test_no_state(idle: Box, text: str) -> None:
    """Whoever runs it by hand is told what it is for."""
    command = [str(BIN / "lxcfs-py"), "hook"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=idle.environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("lxcfs-py hook: stdin has no OCI state; ")
    assert len(done.stderr.splitlines()) == 1

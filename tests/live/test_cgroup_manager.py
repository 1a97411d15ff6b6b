"""Containers without a cgroup of their own, and managers of cgroups that this host has not."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.live import busybox
from tests.live.busybox import Bundle, Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.live, pytest.mark.anywhere]


@pytest.fixture
def runtime(tmp_path: Path, time_scale: float) -> Iterator[Runtime]:
    """Yield a runtime that makes no cgroups."""
    found = Runtime("pyproc", tmp_path, time_scale)
    found.command.append("--cgroup-manager=disabled")
    yield found
    found("delete", "--force", "c")


def cgroups(pid: object) -> str:
    """Return where a process is."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        return file.read()


def test_disabled(runtime: Runtime, tmp_path: Path) -> None:
    """Without a manager a container stays in its maker's cgroups, with all verbs but those that need one."""
    bundle = Bundle(tmp_path / "bundle", "sleep", "1000")
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    runtime("start", "c")
    pid = runtime.state("c")["pid"]
    assert cgroups(pid) == cgroups("self")
    assert json.loads(runtime("ps", "--format", "json", "c").stdout) == [pid]
    assert runtime("exec", "c", "echo", "inside").stdout == "inside\n"
    for verb in (("pause", "c"), ("update", "--memory", "64m", "c")):
        refused = runtime(*verb, check=False)
        assert refused.returncode == 1
        assert "it has no cgroup of its own; it was made with --cgroup-manager disabled" in refused.stderr
    runtime("kill", "--all", "c", "KILL")
    busybox.until(runtime, "c", "stopped")
    runtime("delete", "c")


def alive(pid: int) -> bool:
    """Say whether a process has not been killed, reaped or not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def nested(runtime: Runtime, pid: int, count: int) -> None:
    """Wait until so many processes are below one."""
    deadline = time.monotonic() + 20 * runtime.scale
    while len(psutil.Process(pid).children(recursive=True)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_with_all_told(runtime: Runtime, bundle: Bundle, count: int) -> list[int]:
    """Run a container, see that ps tells of all its processes, and return the ``count`` below its first."""
    assert runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c") == 0
    pid = runtime.state("c")["pid"]
    nested(runtime, pid, count)
    inner = [each.pid for each in psutil.Process(pid).children(recursive=True)]
    assert sorted(json.loads(runtime("ps", "--format", "json", "c").stdout)) == sorted([pid, *inner])
    return inner


def test_namespaces_within(runtime: Runtime, tmp_path: Path) -> None:
    """Without a cgroup the processes of pid namespaces that were made inside are the container's too."""
    bundle = Bundle(tmp_path / "bundle")
    bundle.process["capabilities"]["effective"] = bundle.process["capabilities"]["permitted"] = ["CAP_SYS_ADMIN"]
    bundle.process["capabilities"]["bounding"] = ["CAP_SYS_ADMIN"]
    bundle.run("unshare -p -f sh -c 'sleep 1000 & sleep 1000; true'; true")
    inner = run_with_all_told(runtime, bundle, 4)
    runtime("kill", "--all", "c", "STOP")
    assert {psutil.Process(each).status() for each in inner} == {psutil.STATUS_STOPPED}


def test_nobody_elses(runtime: Runtime, tmp_path: Path) -> None:
    """Without a cgroup, in the host's pid namespace, a container is its first process and what that brought forth."""
    bundle = Bundle(tmp_path / "bundle")
    bundle.without("pid")
    bundle.run("sleep 1000 & sleep 1000; true")
    inner = run_with_all_told(runtime, bundle, 2)
    runtime("kill", "--all", "c", "KILL")
    busybox.until(runtime, "c", "stopped")
    assert not [each for each in inner if alive(each)]


def test_disabled_and_deleted(runtime: Runtime, tmp_path: Path) -> None:
    """Deleting such a container by force ends its processes, and nobody else's."""
    bundle = Bundle(tmp_path / "bundle", "sleep", "1000")
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    pid = runtime.state("c")["pid"]
    runtime("delete", "--force", "c")
    assert not os.path.exists(f"/proc/{pid}/exe") or not os.readlink(f"/proc/{pid}/exe")
    assert runtime.status("c") == ""


def test_another_roots_name(runtime: Runtime, tmp_path: Path) -> None:
    """A name that a running container of another --root has is refused, and nothing of that one is touched."""
    bundle, registered = Bundle(tmp_path / "bundle", "sleep", "1000"), tmp_path / "run/lxcfs-py/containers/c.json"
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    before, other = registered.read_bytes(), Runtime("pyproc", tmp_path / "other", runtime.scale)
    other.command.append("--cgroup-manager=disabled")
    other.environment = runtime.environment
    refused = other("create", "--bundle", str(bundle.path), "c", check=False)
    assert (refused.returncode, "the name 'c' is that of a running container" in refused.stderr) == (125, True)
    other("delete", "--force", "c")
    assert (other.status("c"), runtime.status("c"), registered.read_bytes()) == ("", "created", before)
    runtime("kill", "c", "KILL")
    busybox.until(runtime, "c", "stopped")
    assert other.quietly("create", "--bundle", str(bundle.path), "c") == 0
    after = registered.read_bytes()
    runtime("delete", "c")
    assert registered.read_bytes() == after != before
    other("delete", "--force", "c")
    assert not os.listdir(registered.parent)


def test_no_limits(runtime: Runtime, tmp_path: Path) -> None:
    """Limits can't be had without a cgroup, which is said before anything is made."""
    bundle = Bundle(tmp_path / "bundle", "true")
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    refused = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
    assert refused.returncode == 125
    assert "--cgroup-manager disabled: limits need a cgroup; leave them out" in refused.stderr
    assert runtime.status("c") == ""


def test_no_systemd(tmp_path: Path, time_scale: float) -> None:
    """Where systemd does not run, its manager is refused before anything is made."""
    runtime = Runtime("pyproc", tmp_path, time_scale)
    bundle = Bundle(tmp_path / "bundle", "true")
    for option in ("--systemd-cgroup", "--cgroup-manager=systemd"):
        refused = runtime(option, "create", "--bundle", str(bundle.write()), "c", check=False)
        assert refused.returncode == 125
        assert "the systemd cgroup manager: systemd does not run on this host; leave out" in refused.stderr
    assert runtime.status("c") == ""

"""A bundle's cgroups: limits that change, cgroups that were there before, and what is seen of them inside."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from lxcfs_py.cgroup import control
from runtime import places
from tests.live.busybox import HARD, Bundle, Runtime, until


def test_update_ps_and_events(runtime: Runtime, bundle: Bundle) -> None:
    """Limits change while it runs, from a file and by options; ps names its processes, events tells what it uses."""
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    bundle.run("sleep 1000 & sleep 1000; true")
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    resources = json.dumps({"memory": {"limit": 128 << 20, "swap": 256 << 20}, "pids": {"limit": 17}})
    with open(bundle.path / "in", "w+") as file:
        file.write(resources)
        file.seek(0)
        runtime("update", "--resources=-", "c", stdin=file)
    found = json.loads(runtime("events", "--stats", "c").stdout)
    assert (found["type"], found["id"]) == ("stats", "c")
    assert found["data"]["memory"]["usage"]["limit"] == 128 << 20
    assert found["data"]["pids"]["limit"] == 17
    assert found["data"]["memory"]["usage"]["usage"] > 0
    runtime("update", "--memory", "96m", "--pids-limit", "19", "c")
    data = json.loads(runtime("events", "--stats", "c").stdout)["data"]
    assert (data["memory"]["usage"]["limit"], data["pids"]["limit"]) == (96 << 20, 19)
    deadline = time.monotonic() + 20 * runtime.scale
    while len(pids := json.loads(runtime("ps", "--format", "json", "c").stdout)) != 3:
        assert time.monotonic() < deadline
    assert runtime.state("c")["pid"] in pids
    runtime("kill", "--all", "c", "KILL")
    until(runtime, "c", "stopped")


def cgroup_of_somebody_else(path: str) -> list[str]:
    """Make a cgroup in every hierarchy; return its directories."""
    there = places.layout(path)
    control.create(places.host(), there, path, control.Limits())
    return control.directories(there, path)


def test_a_cgroup_that_is_inhabited(runtime: Runtime, bundle: Bundle) -> None:
    """A cgroup in which others live is refused, as they would end with the container, and stays."""
    path = bundle.linux["cgroupsPath"]
    directories = cgroup_of_somebody_else(path)
    other = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: control.enter([f"{directories[0]}/cgroup.procs"]))
    try:
        refused = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
        assert f"linux.cgroupsPath: {path}: 1 processes are in that cgroup" in refused.stderr
        assert (refused.returncode, runtime.status("c"), other.poll()) == (125, "", None)
        assert all(map(os.path.isdir, directories))
    finally:
        other.kill()
        other.wait()
        control.remove(places.host(), places.layout(path), path)


@pytest.mark.parametrize("hook", ["createRuntime", ""])
def test_an_empty_cgroup_of_somebody_elses(runtime: Runtime, bundle: Bundle, hook: str) -> None:
    """A cgroup that is there and empty is the container's, but stays where nothing comes of the container."""
    path = bundle.linux["cgroupsPath"]
    directories = cgroup_of_somebody_else(path)
    if hook:
        bundle.hook(hook, "exit 1")
    else:
        bundle.process["args"] = ["nosuch"]
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 125 if hook else 127
    assert control.directories(places.layout(path), path) == directories
    control.remove(places.host(), places.layout(path), path)


@pytest.mark.parametrize(("version", "limit", "seen"), [
    ("1.0.2", 0, "max"), ("1.3.0", 0, "1"), ("1.3.0", -1, "max"), ("1.0.2", -1, "max"), ("1.0.2", 1, "1"),
])  # fmt: skip
def test_no_processes(runtime: Runtime, bundle: Bundle, version: str, limit: int, seen: str) -> None:
    """A limit of 0 processes is none at all before specification 1.3, and a number from then on; -1 is no limit."""
    bundle.config["ociVersion"] = version
    bundle.linux["resources"]["pids"] = {"limit": limit}
    bundle.process["args"] = ["sleep", "1000"]
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    path = bundle.linux["cgroupsPath"]
    which = places.layout(path).which("pids")
    assert which is not None
    file = Path(which.directory(path), "pids.max")
    assert file.read_text().strip() == seen
    resources = bundle.path / "resources"
    resources.write_text(json.dumps({"pids": {"limit": 0}}))
    runtime("update", "--pids-limit", "7", "c")
    runtime("update", "--resources", str(resources), "c")
    assert file.read_text().strip() == ("1" if version == "1.3.0" else "7")
    runtime("update", "--pids-limit", "0", "c")
    assert file.read_text().strip() == "max"


def test_a_container_with_cgroups_of_its_own(runtime: Runtime, bundle: Bundle) -> None:
    """exec works where the first process has moved to a cgroup below and hands controllers on, as systemd does."""
    bundle.mount("/sys/fs/cgroup", "cgroup", *HARD, kind="cgroup")
    bundle.run(
        "cd /sys/fs/cgroup; [ -d unified ] && cd unified; mkdir init && echo 1 > init/cgroup.procs;"
        "for c in $(cat cgroup.controllers); do echo +$c > cgroup.subtree_control; done; touch /ready; sleep 1000"
    )
    runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c")
    deadline = time.monotonic() + 20 * runtime.scale
    while not (bundle.root / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert runtime("exec", "c", "echo", "in").stdout == "in\n"
    runtime("delete", "--force", "c")

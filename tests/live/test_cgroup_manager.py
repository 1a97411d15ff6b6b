"""Containers without a cgroup of their own, and managers of cgroups that this host has not."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

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


def test_disabled_and_deleted(runtime: Runtime, tmp_path: Path) -> None:
    """Deleting such a container by force ends its processes, and nobody else's."""
    bundle = Bundle(tmp_path / "bundle", "sleep", "1000")
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    pid = runtime.state("c")["pid"]
    runtime("delete", "--force", "c")
    assert not os.path.exists(f"/proc/{pid}/exe") or not os.readlink(f"/proc/{pid}/exe")
    assert runtime.status("c") == ""


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

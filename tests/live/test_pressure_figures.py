"""What pressure files there are, and whose figures they show."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.box import BIN, Box
from tests.live.test_pressure import POLLER, STALL, needs_psi, source

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alone


def test_a_container_has_what_its_cgroup_has(clean: Box) -> None:
    """There are pressure files inside for what the cgroup's kernel counts, and no others."""
    name = clean.start("--", "sleep", "1000")
    expected = sorted(path.name.partition(".")[0] for path in source(name).parent.glob("*.pressure"))
    there = clean.pyproc("exec", name, "--", "sh", "-c", "cd /proc/pressure && ls -A", check=False).stdout.split()
    assert there == [resource for resource in expected if resource != "cgroup"]
    clean.pyproc("delete", "--force", name)


@needs_psi
def test_the_containers_own_figures(clean: Box) -> None:
    """Inside, cpu pressure is the cgroup's own: it grows by the container's stall and not by the host's."""
    idle = clean.start("--", "sleep", "1000")
    busy = clean.start("--cpus", "0.2", "--", "sh", "-c", STALL + "wait")
    time.sleep(1)
    total = {}
    for name in (idle, busy):
        before = source(name).read_text()
        text = clean.pyproc("exec", name, "--", "cat", "/proc/pressure/cpu").stdout
        after = source(name).read_text()
        totals = [int(each.split("\n")[0].rpartition("=")[2]) for each in (before, text, after)]
        assert totals == sorted(totals)
        assert [line.split("=")[0] for line in text.splitlines()] == ["some avg10", "full avg10"]
        total[name] = totals[1]
    assert total[busy] > 500_000 > total[idle]
    shown = subprocess.run(
        [BIN / "lxcfs-py", "show", "pressure/cpu", "--container", busy],
        env=clean.environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert int(shown.split("\n")[0].rpartition("=")[2]) >= total[busy]
    for resource in ("io", "memory"):
        inside = clean.pyproc("exec", idle, "--", "cat", f"/proc/pressure/{resource}").stdout
        assert inside.startswith("some avg10="), inside
    for name in (idle, busy):
        clean.pyproc("delete", "--force", name)


@needs_psi
def test_by_caller(clean: Box) -> None:
    """Bound from proc/ without a registration the file is the caller's too, trigger included."""
    bind = f"-v{clean.mountpoint}/proc/pressure/cpu:/proc/pressure/cpu"
    script = f"({STALL}) & cat /proc/pressure/cpu; python3 -c \"$1\" 'some 200000 2000000' {20 * clean.scale} 1"
    text = clean.run(
        "--rm", "--init", "--cpus", "0.2", "--proc-view", "off", bind, "--", "sh", "-c", script, "sh", POLLER
    ).stdout.splitlines()
    assert text[0].startswith("some avg10=")
    assert int(text[0].rpartition("=")[2]) < 5_000_000 * clean.scale
    assert text[-1].split()[0] == "1"


@pytest.mark.needs_hybrid
@needs_psi
def test_without_cgroup2_there_is_no_such_file(tmp_path: Path) -> None:
    """On a host without cgroup2 a container has no pressure files at all, rather than the machine's."""
    run = f"{BIN}/pyproc-run --root {tmp_path}/state --storage {tmp_path}/storage --rm --"
    script = f"""
        umount -l /sys/fs/cgroup/unified
        {run} sh -c 'for at in cpu io memory; do test -e /proc/pressure/$at && echo $at; done; cat /proc/uptime'
        echo "status $?"
        ls -A /var/lib/lxcfs/proc/pressure
        kill $(grep -o '"pid": [0-9]*' {tmp_path}/run/lxcfs-py/daemon.json | grep -o '[0-9]*')
    """
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env={**os.environ, "LXCFS_PY_RUNTIME_DIR": f"{tmp_path}/run"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert (len(lines), lines[-1]) == (2, "status 0"), (done.stdout, done.stderr)

"""`show`, `explain` and `doctor` on a real machine: beside the mount, and beside the kernel's files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.served import FILES, NODE
from tests.live.box import BIN, Box

if TYPE_CHECKING:
    from collections.abc import Iterator

STILL = ("proc/meminfo", "proc/cpuinfo", "proc/swaps", "sys/devices/system/cpu/online")
"""Files that say the same twice if nothing happens in between."""


def tool(box: Box, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run lxcfs-py."""
    return subprocess.run(
        [BIN / "lxcfs-py", *arguments], env=box.environment, capture_output=True, check=False, timeout=60 * box.scale
    )


def explained(box: Box, *arguments: str) -> dict[str, Any]:
    """Return the lines of `explain --json` by name."""
    done = tool(box, "explain", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {line["line"]: line for line in json.loads(done.stdout)}


@pytest.fixture
def name(clean: Box) -> Iterator[str]:
    """Yield a container that does nothing."""
    found = clean.start("-m", "64m", "--memory-swap", "96m", "--cpus", "0.5", "--", "sleep", "1000")
    yield found
    clean.pyproc("delete", "--force", found)


def as_served(box: Box, name: str, path: str, *arguments: str) -> tuple[bytes, bytes, Any]:
    """Return what the mount serves before and after a call of lxcfs-py, and the call, once both are the same."""
    file = box.mountpoint / "containers" / name / path
    deadline = time.monotonic() + 60 * box.scale
    while True:
        before, done, after = file.read_bytes(), tool(box, *arguments), file.read_bytes()
        assert done.returncode == 0, done.stderr
        if before == after or time.monotonic() > deadline:
            return before, after, done


@pytest.mark.parametrize("path", STILL)
@pytest.mark.parametrize("by", ["--container", "--pid", "--cgroup"])
def test_show_is_what_the_mount_serves(box: Box, name: str, path: str, by: str) -> None:
    """`show` prints, byte for byte, what the mount serves, whichever way the container is named."""
    about = json.loads((box.base / f"run/lxcfs-py/containers/{name}.json").read_text())
    value = {"--container": name, "--pid": str(about["init_pid"]), "--cgroup": f"/pyproc/{name}"}[by]
    before, after, done = as_served(box, name, path, "show", path, by, value)
    assert done.stdout == before == after


def test_explain_is_what_the_mount_serves(box: Box, name: str) -> None:
    """Each line that `explain meminfo` tells is the mount's, and each source is what the kernel file holds."""
    before, _, done = as_served(box, name, "proc/meminfo", "explain", "--json", "meminfo", "--container", name)
    lines = {line["line"]: line for line in json.loads(done.stdout)}
    served = {row.split(":")[0]: row.split(":")[1].split()[0] for row in before.decode().splitlines()}
    assert {line: str(said["served"]) for line, said in lines.items()} == served
    assert lines["MemTotal"]["served"] == 65536
    [limit] = lines["MemTotal"]["sources"]
    assert limit["value"] == int(Path(limit["path"]).read_text()) == 64 << 20
    assert Path(limit["path"]).parent.name == name
    checked = 0
    for line in lines.values():
        for source in line["sources"]:
            if source["path"] == "/proc/meminfo":
                assert source["key"] == line["line"]
            elif source["key"]:
                held = dict(row.split() for row in Path(source["path"]).read_text().splitlines())
                assert abs(int(held[source["key"]]) - source["value"]) < 1 << 20
                checked += 1
            else:
                assert abs(int(Path(source["path"]).read_text()) - source["value"]) < 1 << 20
                checked += 1
    assert checked > 10


def test_explain_names_the_cpus(box: Box, name: str) -> None:
    """The one CPU of a container with half of one comes of its quota, if the host has more."""
    lines = explained(box, "cpuinfo", "--container", name)
    assert lines["processors"]["served"] == 1
    values = [str(source["value"]) for source in lines["processors"]["sources"]]
    assert any(word in values for word in ("50000", "50000 100000")) == (lines["processors"]["host"] > 1)
    assert all(Path(s["path"]).exists() for line in lines.values() for s in line["sources"])


def test_explain_the_clock(box: Box, name: str) -> None:
    """Uptime is explained by the start of the container's first process."""
    about = json.loads((box.base / f"run/lxcfs-py/containers/{name}.json").read_text())
    source = explained(box, "uptime", "--container", name)["up"]["sources"][0]
    assert (source["path"], source["value"]) == (f"/proc/{about['init_pid']}/stat", about["init_start_ticks"])


def test_every_file_is_explained(box: Box, name: str) -> None:
    """Every line of every file that this host has, has a rule, and sources that are there."""
    tree = box.mountpoint / "containers" / name
    paths = [path for path in FILES if (tree / path).exists() and Path(f"/{path}").exists()]
    paths += [str(path.relative_to(tree)) for path in (tree / NODE).glob("node0/meminfo")]
    assert len(paths) > 7
    for path in paths:
        lines = explained(box, path, "--container", name)
        assert all(line["formula"] for line in lines.values()), path
        assert all(Path(source["path"]).exists() for line in lines.values() for source in line["sources"]), path
    averages = explained(box, "loadavg", "--container", name)["1 minute"]
    assert [Path(source["path"]).parent.name for source in averages["sources"]] == [name]


def test_nobody_gets_the_hosts_figures(box: Box) -> None:
    """A process that has ended, a zombie, an unknown cgroup or container: one line that names it, and exit 1."""
    with subprocess.Popen(["sleep", "0"]) as child:
        deadline = time.monotonic() + 30 * box.scale
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for verb in ("show", "explain"):
            done = tool(box, verb, "meminfo", "--pid", str(child.pid))
            assert (done.returncode, done.stdout) == (1, b"")
    for verb in ("show", "explain"):
        for option, value in (("--pid", str(child.pid)), ("--cgroup", "/none/such"), ("--container", "none.such")):
            done = tool(box, verb, "meminfo", option, value)
            assert (done.returncode, done.stdout) == (1, b"")
            assert done.stderr.count(b"\n") == 1
            assert value in done.stderr.decode()


def test_doctor_finds_nothing_wrong(box: Box, lane: str) -> None:
    """A machine that runs these tests can serve and run; the layout, and this daemon, are told as they are."""
    done = tool(box, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert box.served is not None
    assert found["daemon"]["text"] == f"pid {box.served.pid} serves at {box.mountpoint}"
    types = {line.split()[2] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup" in line}
    name = {1: "v2" if "cgroup2" in types else "v1", 2: "hybrid"}[len(types)]
    assert found["cgroups"]["text"].startswith(f"{name}:")
    assert lane == "here" or name == "v2"
    table = tool(box, "doctor")
    assert (table.returncode, len(table.stdout.splitlines())) == (0, len(found))


def test_doctor_without_rights(box: Box) -> None:
    """Anybody may ask; who is not root is told what only root can, which is a warning: containers can be run."""
    script = (
        "import os, sys; from lxcfs_py import cli, doctor, facts; os.setgroups([]); os.setgid(65534);"
        "os.setuid(65534); sys.argv = ['lxcfs-py', 'doctor']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], env=box.environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"warn  root ")
    assert b"Traceback" not in done.stderr

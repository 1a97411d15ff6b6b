"""Containers in systemd's scopes: made, limited, changed, stopped and forgotten by it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.busybox import Bundle
from tests.systemd import host

if TYPE_CHECKING:
    from collections.abc import Iterator

PYPROC, RUN = host.BIN / "pyproc", host.BIN / "pyproc-run"
TOP = Path("/sys/fs/cgroup")
SLICE = "cgm-tests.slice"
UNIT, CGROUP = "pre-c1.scope", "/cgm.slice/cgm-tests.slice/pre-c1.scope"


def pyproc(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run ``pyproc`` as engines do where systemd makes the cgroups."""
    return host.run(PYPROC, "--systemd-cgroup", *arguments, check=check)


def properties(unit: str, *names: str) -> list[str]:
    """Return properties of a unit, as systemd shows them."""
    text = host.systemctl("show", *(f"--property={name}" for name in names), unit)
    found = dict(line.partition("=")[::2] for line in text.splitlines())
    return [found[name] for name in names]


def there(unit: str = UNIT) -> bool:
    """Say whether systemd knows a unit."""
    return properties(unit, "LoadState") != ["not-found"]


def quietly(*arguments: str | Path, **environment: str) -> int:
    """Run ``pyproc`` where what it leaves running has nobody's pipes; return its exit code."""
    command = [PYPROC, "--systemd-cgroup", *arguments]
    null = subprocess.DEVNULL
    env = {**os.environ, **environment}
    return subprocess.run(command, stdin=null, stdout=null, stderr=null, env=env, timeout=120, check=False).returncode


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    """Yield a bundle whose container is a scope; nothing of it is left."""
    found = Bundle(tmp_path, "sleep", "1000")
    found.linux["cgroupsPath"] = f"{SLICE}:pre:c1"
    yield found
    pyproc("delete", "--force", "c1")
    host.systemctl("stop", SLICE)
    assert not there()
    assert not (TOP / "cgm.slice" / SLICE).exists()


def create(bundle: Bundle) -> None:
    """Make and start it."""
    assert quietly("create", "--bundle", bundle.write(), "c1") == 0
    pyproc("start", "c1")


def state() -> dict[str, Any]:
    """Return its state."""
    found: dict[str, Any] = json.loads(pyproc("state", "c1").stdout)
    return found


def test_limits(bundle: Bundle) -> None:
    """Limits are systemd's properties and the cgroup's files, and stay when systemd reads its units again."""
    bundle.linux["resources"] |= {
        "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20},
        "cpu": {"quota": 30_000, "period": 100_000, "shares": 2048},
        "unified": {"memory.high": str(48 << 20)},
    }
    create(bundle)
    names = ("MemoryMax", "MemoryLow", "MemoryHigh", "MemorySwapMax", "CPUWeight", "TasksMax", "Delegate",
             "DefaultDependencies", "Slice", "ControlGroup")  # fmt: skip
    expected = [*(str(size << 20) for size in (64, 32, 48, 32)), "79", "infinity", "yes", "no", SLICE, CGROUP]
    assert properties(UNIT, *names) == expected
    quota = properties(UNIT, "CPUQuotaPerSecUSec")
    files = {"memory.max": 64 << 20, "memory.high": 48 << 20, "memory.swap.max": 32 << 20, "cpu.max": "30000 100000",
             "cpu.weight": 79, "pids.max": "max"}  # fmt: skip
    for _ in range(2):
        assert {name: (TOP / CGROUP[1:] / name).read_text().strip() for name in files} == {
            name: str(value) for name, value in files.items()
        }
        assert pyproc("exec", "c1", "cat", "/dev/null").stdout == ""
        assert pyproc("exec", "c1", "mknod", "/tmp/b", "b", "8", "0", check=False).returncode != 0
        host.systemctl("daemon-reload")
    assert properties(UNIT, "CPUQuotaPerSecUSec") == quota == ["300ms"]
    assert int(json.loads(pyproc("ps", "--format", "json", "c1").stdout)[0]) == state()["pid"]


def test_update(bundle: Bundle) -> None:
    """What `update` changes, systemd knows too; the rest stays."""
    bundle.linux["resources"] |= {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}}
    create(bundle)
    pyproc(
        "update", "--memory", "48m", "--memory-swap", "48m", "--cpu-quota", "50000", "--cpu-period", "100000", "c1"
    )
    names = ("MemoryMax", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec")
    assert properties(UNIT, *names) == [str(48 << 20), "0", "50", "500ms"]
    host.systemctl("daemon-reload")
    found = [(TOP / CGROUP[1:] / name).read_text().strip() for name in ("memory.max", "cpu.max", "pids.max")]
    assert found == [str(48 << 20), "50000 100000", "50"]


def test_verbs(bundle: Bundle) -> None:
    """Pause, resume, kill and exec are as in any cgroup, and what is started later is in the scope too."""
    create(bundle)
    pyproc("pause", "c1")
    assert state()["status"] == "paused"
    pyproc("resume", "c1")
    pyproc("exec", "-d", "c1", "sleep", "1001")
    pids = json.loads(pyproc("ps", "--format", "json", "c1").stdout)
    assert len(pids) == 2
    assert all(f"0::{CGROUP}" in Path(f"/proc/{pid}/cgroup").read_text().splitlines() for pid in pids)
    assert pyproc("delete", "c1", check=False).returncode == 1
    pyproc("pause", "c1")
    pyproc("delete", "--force", "c1")
    assert not there()


def test_one_that_ends(bundle: Bundle, time_scale: float) -> None:
    """When its processes have ended, systemd forgets the scope; the container is there until it is deleted."""
    create(bundle)
    pyproc("kill", "c1", "KILL")
    host.wait(lambda: not there(), time_scale)
    assert state()["status"] == "stopped"
    pyproc("delete", "c1")


def test_one_stopped_by_systemd(bundle: Bundle, time_scale: float) -> None:
    """`systemctl stop` ends the container, as its properties say that are annotations."""
    bundle.run("trap 'exit 3' USR1; while :; do sleep 0.1; done")
    named = {"KillSignal": str(int(signal.SIGUSR1)), "TimeoutStopSec": "uint64 50", "Description": "'my web server'"}
    bundle.config["annotations"] = {f"org.systemd.property.{name}": value for name, value in named.items()}
    create(bundle)
    assert properties(UNIT, "Description", "TimeoutStopUSec") == ["my web server", "50s"]
    host.systemctl("stop", UNIT)
    host.wait(lambda: state()["status"] == "stopped", time_scale)


@pytest.mark.parametrize("stage", [1, 2, 5])
def test_killed_while_it_is_made(bundle: Bundle, time_scale: float, stage: int) -> None:
    """Wherever `create` is killed, what it has begun ends by itself, and deleting leaves nothing."""
    assert quietly("create", "--bundle", bundle.write(), "c1", PYPROC_TEST_STOP=f"kill:{stage}") == -signal.SIGKILL
    host.wait(lambda: not there(), time_scale)
    assert quietly("create", "--bundle", bundle.write(), "c1") == 125
    pyproc("delete", "--force", "c1")
    create(bundle)


@pytest.mark.parametrize("stage", [1, 6])
def test_failing_while_it_is_made(bundle: Bundle, stage: int) -> None:
    """Wherever `create` fails, nothing is left of it."""
    assert quietly("create", "--bundle", bundle.write(), "c1", PYPROC_TEST_STOP=f"fail:{stage}") == 125
    assert not there()
    assert pyproc("state", "c1", check=False).returncode == 1


def test_a_name_that_failed(bundle: Bundle, time_scale: float) -> None:
    """A unit of that name that has failed is no obstacle; one that is active is, and stays."""
    script = "trap '' TERM; sleep 1000"
    started = subprocess.Popen(
        ["systemd-run", "--scope", f"--unit={UNIT}", "-p", "TimeoutStopSec=100ms", "sh", "-c", script],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        host.wait(there, time_scale)
        done = pyproc("create", "--bundle", bundle.write(), "c1", check=False)
        assert done.returncode == 125
        assert f"systemd: StartTransientUnit {UNIT}: " in done.stderr
        assert started.poll() is None
        host.systemctl("stop", UNIT)
        assert properties(UNIT, "ActiveState") == ["failed"]
        create(bundle)
    finally:
        started.kill()
        started.communicate()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("cgroupsPath", "/a/b", "linux.cgroupsPath: '/a/b' is a path, and systemd takes units; "),
        ("resources", {"unified": {"memory.oom.group": "much"}}, f"{CGROUP}/memory.oom.group: 'much': "),
        ("annotation", "'x'", "systemd: StartTransientUnit pre-c1.scope: "),
    ],
)
def test_refused(bundle: Bundle, field: str, value: Any, said: str) -> None:
    """What is no unit, and what systemd or the kernel does not take, is an error, and leaves nothing."""
    if field == "annotation":
        bundle.config["annotations"] = {"org.systemd.property.Nonsense": value}
    else:
        bundle.linux[field] = value
    done = pyproc("create", "--bundle", bundle.write(), "c1", check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert not there()


def test_without_the_socket(bundle: Bundle) -> None:
    """Where systemd can't be reached, the socket is named."""
    bundle.write()
    script = f"mount -t tmpfs none /run/systemd && mkdir /run/systemd/system && exec {PYPROC} --systemd-cgroup create"
    done = host.run("unshare", "-m", "sh", "-c", f"{script} --bundle {bundle.path} c1", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "can't reach systemd: /run/systemd/private: No such file or directory; " in done.stderr


def test_pyproc_run() -> None:
    """`pyproc-run` too; the scope is named after the container, and has gone with it."""
    option = "--cgroup-manager=systemd"
    script = "cat /proc/self/cgroup; sleep 1000"
    host.run(RUN, option, "-d", "--name", "web", "--proc-view", "off", "-m", "64m", "--", "sh", "-c", script)
    try:
        assert properties("pyproc-web.scope", "MemoryMax", "ActiveState") == [str(64 << 20), "active"]
    finally:
        host.run(PYPROC, "rm", "-f", "web")
    assert not there("pyproc-web.scope")
    done = host.run(
        RUN, option, "--rm", "--name", "web", "--proc-view", "off", "--", "sh", "-c", "exit 7", check=False
    )
    assert done.returncode == 7
    assert not there("pyproc-web.scope")

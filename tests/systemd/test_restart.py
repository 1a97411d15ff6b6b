"""Containers that systemd starts again: by their holder it knows when they end, and how."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.systemd import host
from tests.systemd.host import BIN, about, systemctl

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME, UNIT = "again", "pyproc-again.service"
FILE = Path(f"/etc/systemd/system/{UNIT}")


def started(policy: str, *command: str) -> None:
    """Start a container that is to be started again."""
    options = ("--restart", policy, "--name", NAME, "-m", "64m", "--stop-timeout", "1000")
    done = host.run(BIN / "pyproc-run", "-d", *options, "--", *command)
    assert done.stdout == f"{NAME}\n"


def state() -> dict[str, Any]:
    """Return what inspect says of its state."""
    found: dict[str, Any] = json.loads(host.run(BIN / "pyproc", "inspect", NAME).stdout)[0]["State"]
    return found


@pytest.fixture(autouse=True)
def removed(service: None) -> Iterator[None]:
    """Remove the container, and see that its unit goes with it."""
    yield
    host.run(BIN / "pyproc", "rm", "--force", NAME)
    assert not FILE.exists()
    assert about("LoadState", UNIT) == "not-found"


def test_always(time_scale: float) -> None:
    """Killed it runs again, stopped as was said it does not, started it does; its view is its own."""
    started("always", "sh", "-c", "trap 'exit 5' USR1; grep MemTotal /proc/meminfo; sleep 1000 & wait")
    first = state()["Pid"]
    assert (about("ActiveState", UNIT), systemctl("is-enabled", UNIT)) == ("active", "enabled")
    assert about("MainPID", UNIT) == Path(f"/run/pyproc/{NAME}/holder.pid").read_text().split()[0]
    os.kill(first, signal.SIGKILL)
    host.wait(lambda: state()["Pid"] not in (0, first), time_scale, 60)
    host.run(BIN / "pyproc", "stop", "-s", "USR1", NAME)
    assert (about("ActiveState", UNIT), state()["Status"]) == ("inactive", "exited")
    assert host.run(BIN / "pyproc", "wait", NAME).stdout == "5\n"
    host.run(BIN / "pyproc", "start", NAME)
    assert (about("ActiveState", UNIT), state()["Status"]) == ("active", "running")
    host.wait(
        lambda: host.run(BIN / "pyproc", "logs", NAME).stdout == "MemTotal:          65536 kB\n" * 3, time_scale
    )


def test_on_failure(time_scale: float) -> None:
    """It is tried again as often as was said, and then no more; one that succeeds is left alone."""
    started("on-failure:1", "sh", "-c", "echo tried; exit 3")
    host.wait(lambda: about("ActiveState", UNIT) == "failed", time_scale, 60)
    assert host.run(BIN / "pyproc", "logs", NAME).stdout == "tried\n" * 2
    assert host.run(BIN / "pyproc", "wait", NAME).stdout == "3\n"
    host.run(BIN / "pyproc", "rm", NAME)
    started("on-failure:1", "echo", "tried")
    host.wait(lambda: about("ActiveState", UNIT) == "inactive", time_scale, 60)
    assert host.run(BIN / "pyproc", "logs", NAME).stdout == "tried\n"


def test_another_policy(time_scale: float) -> None:
    """What systemd did not start it does from the next start on; no policy is a policy too, and holds at once."""
    host.run(BIN / "pyproc-run", "-d", "--name", NAME, "--", "sleep", "1000")
    host.run(BIN / "pyproc", "update", "--restart", "always", NAME)
    assert (about("ActiveState", UNIT), systemctl("is-enabled", UNIT)) == ("inactive", "enabled")
    host.run(BIN / "pyproc", "restart", "-t", "0", NAME)
    assert about("ActiveState", UNIT) == "active"
    first = state()["Pid"]
    os.kill(first, signal.SIGKILL)
    host.wait(lambda: state()["Pid"] not in (0, first), time_scale, 60)
    host.run(BIN / "pyproc", "update", "--restart", "no", NAME)
    os.kill(state()["Pid"], signal.SIGKILL)
    host.wait(lambda: about("ActiveState", UNIT) == "failed", time_scale, 60)
    assert about("NRestarts", UNIT) == "1" and state()["Status"] == "exited"


def test_one_that_can_not_be_started() -> None:
    """A command that is not there is no start: it is said, and nothing of it is left."""
    done = host.run(
        BIN / "pyproc-run", "-d", "--restart", "always", "--name", NAME, "--", "/no/such/command", check=False
    )
    assert done.returncode == 125 and UNIT in done.stderr
    assert host.run(BIN / "pyproc", "list", "-q").stdout == "" and not FILE.exists()


def test_two_roots(tmp_path: Path) -> None:
    """Containers of one name in two roots have a unit each; only one of them runs at a time."""
    root = ("--root", str(tmp_path / "root"), "--storage", str(tmp_path / "storage"))
    second = (BIN / "pyproc-run", *root, "-d", "--restart", "always", "--name", NAME, "--", "sleep", "1000")
    started("always", "sleep", "1000")
    assert host.run(*second, check=False).returncode == 125
    assert about("ActiveState", UNIT) == "active"
    host.run(BIN / "pyproc", "stop", "-t", "0", NAME)
    host.run(*second)
    (other,) = FILE.parent.glob(f"pyproc-{NAME}:*.service")
    assert (about("ActiveState", UNIT), about("ActiveState", other.name)) == ("inactive", "active")
    host.run(BIN / "pyproc", "rm", *root, "--force", NAME)
    assert not other.exists() and FILE.exists()


def test_unless_stopped(time_scale: float) -> None:
    """Stopped it is not enabled any more, started it is; it outlives the loss of its state, as by a boot."""
    started("unless-stopped", "sleep", "1000")
    host.run(BIN / "pyproc", "stop", "-t", "0", NAME)
    assert systemctl("is-enabled", UNIT, check=False) == "disabled"
    host.run("rm", "-r", f"/run/pyproc/{NAME}")
    systemctl("start", UNIT)
    assert state()["Status"] == "running"
    done = host.run("systemd-analyze", "verify", "--man=no", UNIT)
    assert done.stdout + done.stderr == ""

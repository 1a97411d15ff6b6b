"""What a supervisor held for others, seccomp listeners and pressure triggers, outlives it where there is a keeper."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.live.box import Box, sigkill
from tests.live.test_keeper import change_layout
from tests.live.test_pressure import STALL, counted, poller
from tests.live.test_seccomp import loop, result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Act = Callable[[int, Path], None]

pytestmark = [pytest.mark.anywhere, pytest.mark.alone]  # who takes over from whom, and for how long nobody answers

SECONDS = {"here": 7, "uml": 20, "qemu": 60}
"""How long callers call, by lane."""


def processes(holder: int, base: Path) -> dict[str, list[int]]:
    """Return what a holder's daemon consists of, by its modules; ``base`` is its box's directory."""
    found: dict[str, list[int]] = {"supervisor": [], "lxcfs_py.seccomp.agent": [], "lxcfs_py.daemon.workers": []}
    listing = subprocess.run(["ps", "-wweo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        pid, parent, words = line.split(None, 2)
        if int(parent) == holder:
            found["supervisor"].append(int(pid))
        for module in found:
            if f"-m {module} " in words and f"{base}/" in words:
                found[module].append(int(pid))
    return found


def kill(*names: str) -> Act:
    """Return what kills these."""

    def act(holder: int, base: Path) -> None:
        there = processes(holder, base)
        for name in names or there:
            for pid in there[name]:
                sigkill(pid)

    return act


def begin_anew(holder: int, _base: Path) -> None:
    """Ask for another supervisor, as an upgrade does."""
    os.kill(holder, signal.SIGHUP)


def upgrade(holder: int, base: Path) -> None:
    """Have another supervisor begin, with memory of another layout."""
    there = processes(holder, base)
    if there["supervisor"] and there["lxcfs_py.daemon.workers"]:
        change_layout(there["supervisor"][0])
    begin_anew(holder, base)


ACTS = {
    "supervisor": kill("supervisor"),
    "with-its-agent": kill("supervisor", "lxcfs_py.seccomp.agent"),
    "everything": kill(),
    "anew": begin_anew,
}
acts = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


@pytest.mark.parametrize("act", [*ACTS.values(), upgrade], ids=(*ACTS, "upgrade"))
def test_calls_are_answered(own: Box, lane: str, act: Act) -> None:
    """Whatever happens below the holder: no call fails, none is answered wrongly, none waits for 2 s; and in the end
    there is one agent.
    """
    holder = own.start_daemon(keeper="process")
    name = own.start("-m", "64m", "--cpus", "1", "--", "sleep", "1000")
    seconds = SECONDS[lane]
    running = [loop(own, name, seconds) for _ in range(2)]
    until, count = time.monotonic() + seconds - 1, 0
    while time.monotonic() < until:
        time.sleep(1.5 * own.scale)
        act(holder.pid, own.base)
        count += 1
    found = [result(each, own.scale) for each in running]
    print(found, count)
    assert count > 1
    assert all(calls > 10 and wrong == 0 for calls, wrong, _ in found), found
    assert max(slowest for *_, slowest in found) < 2 * own.scale, found
    deadline = time.monotonic() + 20 * own.scale
    while len(processes(holder.pid, own.base)["lxcfs_py.seccomp.agent"]) != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["supervisor", "everything"])
def test_who_comes_meanwhile(own: Box, name: str) -> None:
    """A program that starts in a container while nobody is there to take its listener is answered a little later."""
    holder = own.start_daemon(keeper="process")
    container = own.start("-m", "64m", "--", "sleep", "1000")
    ACTS[name](holder.pid, own.base)
    for _ in range(5):
        done = own.pyproc("exec", container, "--", "getconf", "_PHYS_PAGES")
        assert (done.stdout, done.stderr) == ("16384\n", "")


@pytest.mark.needs_psi
@acts
def test_triggers_stay_set(own: Box, act: Act) -> None:
    """Whatever happens below the holder: who polls is woken at the next stall, and never told of an error."""
    holder = own.start_daemon(keeper="process")
    name = own.start("--cpus", "0.2", "--", "sh", "-c", "while [ ! -e /go ]; do sleep .1; done; " + STALL + "wait")
    waiting = poller(own, name, "some 50000 2000000", 60 * own.scale, enough=2)
    for _ in range(2):
        act(holder.pid, own.base)
        time.sleep(1.5 * own.scale)
    own.pyproc("exec", name, "--", "touch", "/go")
    events, errors, _ = counted(waiting, 90 * own.scale)
    assert (events, errors) == (2, 0)

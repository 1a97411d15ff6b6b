"""Workers are kept running also where the process they come from can't be started, or hangs before it is known."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import trio

from lxcfs_py import process
from lxcfs_py.daemon import generations, workers
from lxcfs_py.daemon.processes import Processes, Template

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lxcfs_py.daemon.task import Task
    from tests.unit.scene import Scene

SECONDS = 20.0


READY = """
import os, sys
from lxcfs_py.daemon.processes import Processes, Template
processes, generation, first = Processes(int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
processes.note_template(generation, Template(os.getpid(), 0))
if not os.read(0, 1):
    sys.exit(7)
processes.note_worker(first, os.getpid())
os.read(int(sys.argv[4]), 1)
"""
"""A template that could serve; its worker, once it may, serves until the pipe's other end is closed."""


class Templates:
    """Starts what a test wants as templates, one after the other, and then such as could serve."""

    def __init__(self, *commands: list[str] | None) -> None:
        self.commands, self.started, self.rehearse = list(commands), list[subprocess.Popen[bytes]](), list[bool]()
        self._until, self._end = os.pipe()

    def start(self, task: Task, _parent: int, *, rehearse: bool) -> subprocess.Popen[bytes]:
        """Stand for ``generations._start``; None is one that can't be started."""
        numbers = task.record, task.first // task.workers, task.first, self._until
        ready = [sys.executable, "-c", READY, *map(str, numbers)]
        if (command := self.commands.pop(0) if self.commands else ready) is None:
            raise BlockingIOError(errno.EAGAIN, "no process more")
        inherited = task.record, self._until
        self.started.append(subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=inherited))
        self.rehearse.append(rehearse)
        return self.started[-1]

    def end(self) -> None:
        """Have those that serve end."""
        os.close(self._end)
        os.close(self._until)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no pauses."""
    monkeypatch.setattr(generations, "PAUSE_SECONDS", 0.01)


async def nothing() -> None:
    """Be ready."""


def keep(scene: Scene, ready: Callable[[], Awaitable[None]], serving: Callable[[], None]) -> None:
    """Keep workers running until they say that the mount is gone."""

    async def main() -> None:
        with trio.fail_after(SECONDS):
            await generations.keep(scene.session, scene.task, 0, generations.Stages(ready, serving))

    trio.run(main)


def test_another_template_is_started(scene: Scene, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is killed after a while, one that can't be started is tried again, until one serves."""
    monkeypatch.setattr(generations, "BEGIN_SECONDS", 0.05)
    templates = Templates(["sleep", "1000"], None, ["true"])
    monkeypatch.setattr(generations, "_start", templates.start)
    keep(scene, nothing, lambda: None)
    templates.end()
    assert [each.returncode for each in templates.started] == [-9, 0]


def test_a_template_that_does_not_die(scene: Scene, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one that hung and was killed is held by the kernel, whatever else the supervisor does goes on."""
    monkeypatch.setattr(generations, "BEGIN_SECONDS", 0.5)
    templates = Templates(["sleep", "1000"], ["true"])
    monkeypatch.setattr(generations, "_start", templates.start)
    told, by = threading.Event(), list[str]()

    def end(who: str) -> None:
        by.append(who)
        os.kill(templates.started[0].pid, signal.SIGKILL)

    late = threading.Timer(SECONDS / 2, end, ["nobody else"])

    def kill(_template: subprocess.Popen[bytes]) -> None:
        monkeypatch.setattr(generations, "BEGIN_SECONDS", SECONDS)
        late.start()
        told.set()

    async def go_on() -> None:
        while not told.is_set():
            await trio.sleep(0.01)
        late.cancel()
        end("us")

    async def main() -> None:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(go_on)
                await generations.keep(scene.session, scene.task, 0, generations.Stages(nothing, lambda: None))

    monkeypatch.setattr(subprocess.Popen, "kill", kill)
    trio.run(main)
    templates.end()
    assert by == ["us"]


@pytest.mark.parametrize("layout", ["same", "another"])
def test_who_serves_stays_until_others_could(
    scene: Scene, quick: None, layout: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Templates that die at their start, or whose rehearsal fails, change nothing for those that serve, of the same
    memory or of another; the log says so. The first that could serve does, when they have left.
    """
    memory = os.memfd_create("former")
    before = scene.processes if layout == "same" else Processes(memory)
    serving = subprocess.Popen(["sleep", "1000"])
    found = process.stat(scene.task.host, serving.pid)
    assert found is not None
    before.note_template(1, Template(serving.pid, found.start_ticks))
    scene.session.former = None if layout == "same" else before
    templates = Templates(["sh", "-c", "exit 1"], None, ["sh", "-c", "exit 6"])
    monkeypatch.setattr(generations, "_start", templates.start)
    seen: list[int | None] = []

    async def ready() -> None:
        seen.append(serving.poll())
        if scene.session.former is not None:
            await generations.dismiss(scene.session.former, scene.task)
        seen.append(0 if scene.processes.workers() else None)

    def served() -> None:
        seen.append(serving.wait(SECONDS))
        templates.end()

    keep(scene, ready, served)
    os.close(memory)
    assert seen == [None, None, -signal.SIGTERM]
    assert [each.returncode for each in templates.started] == [1, 6, 0]
    assert templates.rehearse == [True] * 3
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if "ended with" in line] == [
        f"lxcfs-py: the workers' template ended with {code}, those of before serve on; another one starts"
        for code in (1, 6)
    ]


@pytest.mark.parametrize("serving", [0, 1])
def test_who_was_not_let_serve_leaves_first(scene: Scene, serving: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two generations that a killed supervisor left the one without workers leaves; the other serves on until the
    next could.
    """
    processes = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
    for generation, each in enumerate(processes):
        found = process.stat(scene.task.host, each.pid)
        assert found is not None
        scene.processes.note_template(generation, Template(each.pid, found.start_ticks))
    scene.processes.note_worker(serving * scene.task.workers, scene.dead())
    templates = Templates()
    monkeypatch.setattr(generations, "_start", templates.start)
    seen: list[int | None] = []

    async def ready() -> None:
        seen.append(processes[serving].poll())

    def served() -> None:
        seen.append(processes[serving].wait(SECONDS))
        templates.end()

    keep(scene, ready, served)
    assert seen == [None, -signal.SIGTERM]
    assert processes[1 - serving].wait(SECONDS) == -signal.SIGTERM


def test_pauses_grow() -> None:
    """A version that can't serve is tried ever less often, unless readers wait for it."""
    assert [generations.pause(count, served=True) for count in (0, 1, 2, 3)] == [0.2, 0.2, 0.4, 0.8]
    assert {generations.pause(count, served=True) for count in (7, 10**6)} == {generations.LONGEST_PAUSE_SECONDS}
    assert {generations.pause(count, served=False) for count in (0, 1, 7, 10**6)} == {0.2}


def test_who_served_before_an_upgrade_is_told_of_who_serves_now(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the memory was begun anew, a template is in the table before, before it serves: a keeper that still has
    that one finds who is to leave there, whenever we are killed. Who is there leaves when told.
    """
    memory = os.memfd_create("former")
    former = Processes(memory)
    scene.session.former = former
    templates = Templates()
    monkeypatch.setattr(generations, "_start", templates.start)
    there: list[int] = []

    async def begin() -> None:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:

                def serving() -> None:
                    there.append(former.template(0).pid)
                    nursery.cancel_scope.cancel()

                await generations.keep(scene.session, scene.task, 0, generations.Stages(nothing, serving))

    trio.run(begin)
    (serving,) = templates.started
    templates.end()
    serving.returncode = None
    assert serving.wait(SECONDS) == 0
    os.close(memory)
    assert there == [serving.pid]


def test_nobody_serves_whom_nobody_let(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that ends before those have left who are to: the template that waited for that ends, too."""
    templates = Templates()
    monkeypatch.setattr(generations, "_start", templates.start)

    async def begin() -> None:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:

                async def ready() -> None:
                    nursery.cancel_scope.cancel()
                    await trio.sleep_forever()

                await generations.keep(scene.session, scene.task, 0, generations.Stages(ready, lambda: None))

    trio.run(begin)
    (waiting,) = templates.started
    waiting.returncode = None
    assert waiting.wait(SECONDS) == workers.ABANDONED
    assert scene.processes.workers() == {}
    templates.end()

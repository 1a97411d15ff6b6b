"""Before those who serve leave, others prove that they could: by serving a socket as they would the mount."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from lxcfs_py.daemon import rehearsal, workers
from lxcfs_py.daemon.rehearsal import rehearse
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.operations import Operations
from tests.unit.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lxcfs_py.daemon.task import Task


@pytest.fixture(params=[True, False], ids=["relay", "resend"])
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Yield a session that nobody serves, of a kernel of either kind."""
    found = Scene(relay=request.param)
    found.task = found.task.replace(init=protocol.Init(2, 7, 41, 1 << 17, (1 << 32) - 1))
    yield found
    found.close()


def test_workers_that_can(scene: Scene) -> None:
    """Ours can. Nothing is left of it: no open file, no request, no worker; and the mount heard nothing."""
    assert rehearse(scene.task, 0, workers.work) == ""
    assert (scene.task.shared().taken(), scene.noted(0), scene.processes.workers()) == (0, 0, {})
    assert scene.heard() == []


def die(_task: Task, _number: int) -> NoReturn:
    """Be a worker that can't even begin."""
    os._exit(1)


def hang(_task: Task, _number: int) -> NoReturn:
    """Be one that answers nothing."""
    while True:
        time.sleep(1000)


@pytest.mark.parametrize(("work", "why"), [(die, "the worker has ended"), (hang, "timed out")])
def test_workers_that_do_not_answer(
    scene: Scene, work: Callable[[Task, int], NoReturn], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies at once, and one that hangs, can't."""
    monkeypatch.setattr(rehearsal, "SECONDS", 0.5)
    assert rehearse(scene.task, 0, work) == f"proc/meminfo: {why}"


def test_no_process_for_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has no room for another process is a reason like any other."""

    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    assert rehearse(scene.task, 0, die) == "no process was started: Resource temporarily unavailable"


def fail(*_arguments: object) -> NoReturn:
    """Be a defect."""
    raise ZeroDivisionError


@pytest.mark.parametrize("broken", ["opened", "piece", "closed"])
def test_workers_that_answer_wrongly(scene: Scene, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that can't open, read or close a file can't; an open file of it is closed all the same."""
    monkeypatch.setattr(Operations, broken, fail)
    assert rehearse(scene.task, 0, workers.work) == "proc/meminfo: Input/output error"
    assert scene.task.shared().taken() == 0


def test_workers_that_find_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has no such file can't."""
    monkeypatch.setattr(Operations, "_entry", fail)
    assert rehearse(scene.task, 0, workers.work) == "proc/meminfo: Input/output error"


def test_an_empty_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that is empty proves nothing."""
    monkeypatch.setattr(Operations, "piece", lambda *_arguments: b"")
    assert rehearse(scene.task, 0, workers.work) == "proc/meminfo: cut off, or empty"

"""What becomes of the requests that dead workers held, whatever dies at whatever instant."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import pytest

from lxcfs_py import process
from lxcfs_py.counters import BUSY_SINCE_NSEC, Table
from lxcfs_py.daemon import workers
from lxcfs_py.daemon.mourning import mourn, mourn_generation
from lxcfs_py.daemon.processes import Template
from lxcfs_py.fuse import protocol
from lxcfs_py.fuse.boundary import EXHAUSTED
from lxcfs_py.fuse.driver import LEFT, UNMOUNTED
from lxcfs_py.host import Host
from tests.unit.scene import COUNT, Scene, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxcfs_py.daemon.task import Task


@pytest.fixture
def resending() -> Iterator[Scene]:
    """Yield one of a kernel that can."""
    found = Scene(relay=False)
    yield found
    found.close()


def test_what_the_dead_held_is_answered(scene: Scene) -> None:
    """Where the kernel can't ask again, each request of a dead worker is answered with an error, once."""
    for number, unique in ((0, 10), (1, 12)):
        scene.processes.note_worker(number, scene.dead())
        scene.hold_request(number, unique)
    mourn_generation(scene.task, scene.processes, 0)
    assert scene.heard() == [(errno.EIO, 10), (errno.EIO, 12)]
    mourn_generation(scene.task, scene.processes, 0)
    assert (scene.heard(), scene.noted(0), scene.processes.workers()) == ([], 0, {})


def test_who_dies_answering_is_followed(scene: Scene) -> None:
    """Who is killed while it answers for the dead leaves the request noted, for whoever answers after it."""
    scene.processes.note_worker(0, scene.dead())
    scene.hold_request(0, 10)
    os.set_blocking(scene.task.fuse, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(scene.task.fuse, bytes(16))
    os.set_blocking(scene.task.fuse, True)
    pid = scene.child(lambda: mourn_generation(scene.task, scene.processes, 0))
    until(lambda: (found := process.stat(Host(), pid)) is not None and found.state == "S")
    os.kill(pid, signal.SIGKILL)
    scene.reap(pid)
    assert (errno.EIO, 10) not in scene.heard()
    mourn_generation(scene.task, scene.processes, 0)
    assert scene.heard() == [(errno.EIO, 10)]


def test_the_dying_are_waited_for(scene: Scene) -> None:
    """A worker that was killed and has not ended may still be given a request: that is answered too."""

    def last() -> None:
        time.sleep(0.1)
        scene.hold_request(0, 10)

    scene.processes.note_worker(0, scene.child(last))
    mourn_generation(scene.task, scene.processes, 0)
    assert scene.heard() == [(errno.EIO, 10)]


def test_the_dying_are_waited_for_with_many_descriptors(scene: Scene) -> None:
    """Also who has more than 1024 open, as the supervisor may, waits for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1200
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    taken: list[int] = []

    def last() -> None:
        time.sleep(0.1)
        scene.hold_request(0, 10)

    scene.processes.note_worker(0, scene.child(last))
    try:
        while not taken or taken[-1] < 1024:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        mourn_generation(scene.task, scene.processes, 0)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert scene.heard() == [(errno.EIO, 10)]


def test_the_kernel_asks_again(resending: Scene) -> None:
    """Where the kernel can ask again it is told to, once for all who died, and not if nobody did."""
    mourn_generation(resending.task, resending.processes, 0)
    assert resending.heard() == []
    for number in range(COUNT):
        resending.processes.note_worker(number, resending.dead())
    mourn_generation(resending.task, resending.processes, 0)
    assert resending.heard() == [(protocol.NOTIFY_RESEND, 0)]


@pytest.mark.parametrize("held", [True, False])
def test_who_lives_is_left_alone(scene: Scene, held: bool) -> None:
    """A template that begins sees to its own generation, and to the other one only if no template holds that."""
    for number, unique in ((0, 10), (COUNT, 12)):
        scene.processes.note_worker(number, scene.dead())
        scene.hold_request(number, unique)
    if held:

        def serve() -> None:
            scene.processes.hold(1)
            scene.processes.note_template(1, Template(os.getpid(), 1))
            signal.pause()

        pid = scene.child(serve)
        until(lambda: scene.processes.template(1).pid == pid)
    assert scene.flock().begin(rehearse=False) == 0
    assert scene.heard() == ([(errno.EIO, 10)] if held else [(errno.EIO, 10), (errno.EIO, 12)])
    assert scene.noted(COUNT) == (12 if held else 0)
    assert scene.processes.template(0).pid == os.getpid()


def test_a_worker_is_known_before_it_serves(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker enters itself: its template may be killed at any instant after the fork. One that dies without having
    answered is mourned also while all are leaving.
    """
    told, tell = os.pipe()

    def work(_task: Task, number: int) -> NoReturn:
        known = scene.processes.workers().get(number) == os.getpid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(tell, b"y" if known else b"n")
        until(lambda: process.stat(Host(), os.getppid()) is not None and scene.noted(number) == 10)
        os._exit(EXHAUSTED)

    monkeypatch.setattr(workers, "work", work)
    flock = scene.flock()
    flock.start(0)
    assert os.read(told, 1) == b"y"
    flock.leave(0, None)
    scene.hold_request(0, 10)
    assert flock.tend() == LEFT
    assert scene.heard() == [(errno.EIO, 10)]
    os.close(told)
    os.close(tell)


def test_a_file_that_was_being_closed(scene: Scene) -> None:
    """A file whose closing died with a worker is closed, once: its slot may be another's by then."""
    shared = scene.task.shared()
    handle = shared.open(0, b"about", 1, "web")
    scene.hold_request(0, 7, protocol.RELEASE, handle)
    mourn(scene.task, [0])
    assert (shared.taken(), scene.heard()) == (0, [(errno.EIO, 7)])
    other = shared.open(0, b"about", 1, "web")
    scene.hold_request(0, 9, protocol.RELEASE, handle)
    mourn(scene.task, [0])
    assert shared.opened(other) is not None


def test_a_fork_that_fails_is_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be forked for a while, the workers that serve go on, and others come when they can."""
    fork, failures = os.fork, iter(range(3))

    def failing() -> int:
        if next(failures, None) is not None:
            raise BlockingIOError(errno.EAGAIN, "no process more")
        return fork()

    def work(_task: Task, _number: int) -> NoReturn:
        until(lambda: len(scene.processes.workers()) == COUNT)
        os._exit(UNMOUNTED)

    monkeypatch.setattr(workers, "work", work)
    flock = scene.flock()
    flock.start(0)
    monkeypatch.setattr(os, "fork", failing)
    flock.start(1)
    assert flock.tend() == UNMOUNTED
    assert next(failures, None) is None
    for pid in flock._running:
        os.waitpid(pid, 0)


def test_who_could_not_be_forked_keeps_nobody(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template without a worker leaves when it is told to."""

    def failing() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process more")

    monkeypatch.setattr(os, "fork", failing)
    flock = scene.flock()
    flock.start(0)
    flock.leave(0, None)
    assert flock.tend() == LEFT


def test_the_living_leave_also_if_one_has_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told to leave when a worker has just been waited for tells the others."""

    def work(_task: Task, _number: int) -> NoReturn:
        signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(LEFT))
        until(lambda: False)
        raise AssertionError

    monkeypatch.setattr(workers, "work", work)
    flock = scene.flock()
    flock._running[scene.dead()] = 1, 0.0
    flock.start(0)
    flock.leave(0, None)
    del flock._running[next(iter(flock._running))]
    assert flock.tend() == LEFT


def test_a_worker_begins_with_a_row_of_its_own(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a worker is known, its row tells of no request that its predecessor died at."""
    table = Table(scene.task.counters, 2 * COUNT)
    table.row(0).words[BUSY_SINCE_NSEC] = 1
    found, tell = os.pipe()
    note = scene.processes.note_worker

    def note_worker(number: int, pid: int) -> None:
        if pid:
            os.write(tell, b"%d" % table.request(number).since_nsec)
        note(number, pid)

    monkeypatch.setattr(workers, "work", lambda _task, _number: os._exit(LEFT))
    flock = scene.flock()
    monkeypatch.setattr(flock._processes, "note_worker", note_worker)
    flock.start(0)
    assert os.read(found, 10) == b"0"
    flock.leave(0, None)
    assert flock.tend() == LEFT
    os.close(found)
    os.close(tell)


@pytest.mark.parametrize("when", ["before-it-is-noted", "before-it-has-its-own-way"])
def test_who_was_just_forked_leaves_too(scene: Scene, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM that comes between the fork of a worker and what makes it known is not lost: it leaves as all do."""
    fork, template = os.fork, os.getpid()

    def told() -> int:
        pid = fork()
        if (pid == 0) == (when == "before-it-has-its-own-way"):
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)  # (a template has no other threads)
        return pid

    def work(_task: Task, _number: int) -> NoReturn:
        while os.getppid() == template:
            time.sleep(0.05)
        os._exit(1)

    monkeypatch.setattr(workers, "work", work)
    flock = scene.flock()
    before = signal.signal(signal.SIGTERM, flock.leave)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fork", told)
            flock.start(0)
        if when == "before-it-has-its-own-way":
            flock._leaving = True  # (the child alone was told)
        assert flock.tend() == LEFT
    finally:
        signal.signal(signal.SIGTERM, before)

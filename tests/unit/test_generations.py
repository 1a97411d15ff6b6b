"""Workers are kept running also where the process they come from can't be started, or hangs before it is known."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
import trio
from click.testing import CliRunner

from lxcfs_py import cli
from lxcfs_py.daemon import generations, mount, notify, supervisor
from lxcfs_py.daemon.processes import Processes
from lxcfs_py.daemon.session import Session, living
from lxcfs_py.errors import Error
from tests.unit.test_mourning import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 20.0


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Yield a session that nobody serves."""
    found = Scene(relay=True)
    yield found
    found.close()


def test_another_template_is_started(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs is killed after a while, one that can't be started is tried again, until one serves."""
    monkeypatch.setattr(generations, "BEGIN_SECONDS", 0.05)
    started: list[subprocess.Popen[bytes]] = []
    commands = iter((["sleep", "1000"], None, ["true"]))

    def start(*_arguments: object) -> subprocess.Popen[bytes]:
        if (command := next(commands)) is None:
            raise BlockingIOError(errno.EAGAIN, "no process more")
        started.append(subprocess.Popen(command))
        return started[-1]

    monkeypatch.setattr(generations, "_start", start)

    async def keep() -> None:
        with trio.fail_after(SECONDS):
            await generations.keep(scene.session, scene.task, 0, lambda: None)

    trio.run(keep)
    assert [each.returncode for each in started] == [-9, 0]


def test_who_served_before_an_upgrade_is_told_of_who_serves_now(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the memory was begun anew, a template is in the table before as soon as it has been started: a keeper
    that still has that one finds who is to leave there, also if we are killed at once. Who is there leaves when told.
    """
    memory = os.memfd_create("former")
    former = Processes(memory)
    scene.session.former = former
    sleeping = subprocess.Popen(["sleep", "1000"])
    monkeypatch.setattr(generations, "_start", lambda *_arguments: sleeping)

    async def begin() -> None:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(generations.keep, scene.session, scene.task, 0, lambda: None)
                while not (there := living(former, scene.task.host)):
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        assert there[0].pid == sleeping.pid
        with trio.fail_after(SECONDS):
            await generations.dismiss(former, scene.task)

    trio.run(begin)
    os.close(memory)
    sleeping.returncode = None
    assert sleeping.wait() == -signal.SIGTERM


def test_systemd_keeps_who_is_to_leave_until_they_have(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd keeps is replaced by the memory begun anew after those have left whom only the old one names, and
    before anybody serves with the new one.
    """
    scene.session.former = scene.processes
    done: list[str] = []

    async def dismiss(*_arguments: object) -> None:
        done.append("dismiss")

    async def keep(*_arguments: object) -> None:
        done.append("serve")

    monkeypatch.setattr(generations, "dismiss", dismiss)
    monkeypatch.setattr(generations, "keep", keep)
    monkeypatch.setattr(notify, "keep", lambda _descriptors: done.extend(["keep"]))
    served = supervisor.Supervisor.__new__(supervisor.Supervisor)
    served.session, served.task = scene.session, scene.task
    served.options = supervisor.Options(scene.task.host, keeper=supervisor.SYSTEMD)
    served.triggers = Mock()
    trio.run(served._serve_session, trio.CancelScope())
    assert done == ["dismiss", "keep", "serve"]


@pytest.mark.parametrize("served", [True, False])
def test_a_mount_that_is_served_stays(scene: Scene, served: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that can't begin unmounts, unless workers serve there that an older one began."""
    scene.session.former = scene.processes if served else None
    unmounted: list[str] = []

    def fail(*_arguments: object) -> int:
        raise Error("the port is taken", "choose another")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(Session, "adopt", lambda *_arguments: scene.session)
    monkeypatch.setattr(supervisor, "run", fail)
    monkeypatch.setattr(mount, "umount", unmounted.append)
    done = CliRunner().invoke(cli.cli, ["serve", "--keeper", "none", "/mnt/nowhere"])
    assert isinstance(done.exception, Error)
    assert unmounted == ([] if served else ["/mnt/nowhere"])

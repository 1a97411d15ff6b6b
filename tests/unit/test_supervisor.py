"""What the supervisor does before and after its workers serve."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
import trio
from click.testing import CliRunner

from lxcfs_py import cli
from lxcfs_py.daemon import generations, mount, notify, supervisor
from lxcfs_py.daemon.session import Session
from lxcfs_py.errors import Error

if TYPE_CHECKING:
    from tests.unit.scene import Scene


def test_systemd_keeps_who_is_to_leave_until_they_have(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What systemd keeps is replaced by the memory begun anew after those have left whom only the old one names, and
    before anybody serves with the new one.
    """
    scene.session.former = scene.processes
    done: list[str] = []

    async def dismiss(*_arguments: object) -> None:
        done.append("dismiss")

    async def keep(_session: object, _task: object, _parent: int, stages: generations.Stages) -> None:
        await stages.ready()
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

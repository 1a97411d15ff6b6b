"""Workers are kept running also where the process they come from can't be started, or hangs before it is known."""

from __future__ import annotations

import errno
import subprocess
from typing import TYPE_CHECKING

import pytest
import trio

from lxcfs_py.daemon import generations
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

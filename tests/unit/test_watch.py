"""The watchdog: systemd hears of the mount's answers, and of nothing else; a mount that hangs holds up nobody."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio

from lxcfs_py.daemon import watch
from lxcfs_py.daemon.supervisor import MOST_NAMED, named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

SECONDS = 20.0


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that is read below the mount point ``tmp_path``; who is asked has little time."""
    monkeypatch.setattr(watch, "ANSWER_SECONDS", 0.5)
    found = tmp_path / watch.ASKED
    found.parent.mkdir(parents=True)
    return found


def run(mountpoint: Path, act: Callable[[watch.Asker], Awaitable[Any]]) -> Any:
    """Do something with an asker."""

    async def main() -> Any:
        asker = watch.Asker(str(mountpoint))
        try:
            return await act(asker)
        finally:
            await asker.close()

    return trio.run(main)


def test_what_is_an_answer(tmp_path: Path, asked: Path) -> None:
    """A file that is there is an answer, whatever it says; that it is not there is none; both by one shell."""

    async def act(asker: watch.Asker) -> list[str]:
        found = [await asker.ask()]
        for text in ("0-1\n", "0", "", "a\nb\n"):
            asked.write_text(text)
            found.append(await asker.ask())
        asked.unlink()
        return [*found, await asker.ask(), await asker.ask()]

    first, *good, last, again = run(tmp_path, act)
    assert good == [""] * 4
    assert all(str(asked) in said and "No such file" in said for said in (first, last, again))


def test_a_read_that_hangs(tmp_path: Path, asked: Path) -> None:
    """A read that is not answered fails in time; once files are answered again, so is the next question."""
    os.mkfifo(asked)

    async def act(asker: watch.Asker) -> tuple[str, float, str]:
        since = time.monotonic()
        hung, took = await asker.ask(), time.monotonic() - since
        asked.unlink()
        asked.write_text("0\n")
        return hung, took, await asker.ask()

    hung, took, then = run(tmp_path, act)
    assert hung == f"{asked}: no answer within 0.5 s"
    assert took < SECONDS
    assert then == ""


def test_a_shell_that_is_killed(tmp_path: Path, asked: Path) -> None:
    """Somebody kills the shell: one answer is missing, and another shell gives the next."""
    asked.write_text("0\n")

    async def act(asker: watch.Asker) -> list[str]:
        found = [await asker.ask()]
        shell = asker._shell
        assert shell is not None
        os.kill(shell.pid, signal.SIGKILL)
        return [*found, await asker.ask(), await asker.ask()]

    first, missing, last = run(tmp_path, act)
    assert (first, last) == ("", "")
    assert missing.startswith(f"{asked}: no answer")


@pytest.mark.parametrize("served", [True, False])
def test_systemd_hears_of_answers(
    tmp_path: Path, asked: Path, served: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """WATCHDOG=1 is said again and again while the mount answers; while it does not, the log says so, once."""
    monkeypatch.setattr(watch, "ASK_SECONDS", 0.01)
    if served:
        asked.write_text("0\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        async def main() -> list[bytes]:
            heard: list[bytes] = []
            receiving = trio.socket.from_stdlib_socket(manager)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch.ask, str(tmp_path))
                with trio.move_on_after(SECONDS if served else 0.5):
                    while len(heard) < 3:
                        heard.append(await receiving.recv(4096))
                nursery.cancel_scope.cancel()
            return heard

        assert trio.run(main) == ([b"WATCHDOG=1"] * 3 if served else [])
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == (0 if served else 1), lines
    assert served or "the mount does not answer" in lines[0]


def test_many_containers_in_one_line() -> None:
    """A line of the log names so many containers, and says how many more there are."""
    ids = [f"c{number}" for number in range(MOST_NAMED + 7)]
    assert named(ids[:2]) == "c0, c1"
    assert named(ids[:MOST_NAMED]).endswith(ids[MOST_NAMED - 1])
    assert named(ids).endswith(f"{ids[MOST_NAMED - 1]} and 7 more")

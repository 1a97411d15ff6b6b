"""The watchdog: systemd hears of the mount's answers, and of nothing else; a mount that hangs holds up nobody."""

from __future__ import annotations

import errno
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

    async def act(asker: watch.Asker) -> list[watch.Heard]:
        found = [await asker.ask()]
        for text in ("0-1\n", "0", "", "a\nb\n"):
            asked.write_text(text)
            found.append(await asker.ask())
        asked.unlink()
        return [*found, await asker.ask(), await asker.ask()]

    first, *good, last, again = run(tmp_path, act)
    assert good == [watch.Heard("", True)] * 4
    for said, served in (first, last, again):
        assert str(asked) in said
        assert "No such file" in said
        assert not served


def test_a_read_that_hangs(tmp_path: Path, asked: Path) -> None:
    """A read that is not answered fails in time; once files are answered again, so is the next question."""
    os.mkfifo(asked)

    async def act(asker: watch.Asker) -> tuple[watch.Heard, float, watch.Heard]:
        since = time.monotonic()
        hung, took = await asker.ask(), time.monotonic() - since
        asked.unlink()
        asked.write_text("0\n")
        return hung, took, await asker.ask()

    hung, took, then = run(tmp_path, act)
    assert hung == (f"{asked}: no answer within 0.5 s", False)
    assert took < SECONDS
    assert then == ("", True)


def test_a_shell_that_is_killed(tmp_path: Path, asked: Path) -> None:
    """Somebody kills the shell: one answer is missing, and another shell gives the next."""
    asked.write_text("0\n")

    async def act(asker: watch.Asker) -> list[watch.Heard]:
        found = [await asker.ask()]
        shell = asker._shell
        assert shell is not None
        os.kill(shell.pid, signal.SIGKILL)
        return [*found, await asker.ask(), await asker.ask()]

    first, missing, last = run(tmp_path, act)
    assert first == last == ("", True)
    assert missing.failure.startswith(f"{asked}: no answer")


@pytest.mark.parametrize("shell", ["sh: 1: cannot open {}", "/bin/sh: line 1: {}", "sh: can't open '{}'"])
@pytest.mark.parametrize(
    ("number", "served"),
    [
        (errno.ENOTCONN, False),
        (errno.ECONNABORTED, False),
        (errno.ENFILE, True),
        (errno.EMFILE, True),
        (errno.ENOMEM, True),
        (errno.EINTR, True),
        (errno.EIO, True),
        (errno.EACCES, True),
    ],
)
def test_what_an_error_means(shell: str, number: int, served: bool) -> None:
    """That nobody serves is told from a daemon's answer, and from what is wrong with the host, by the error alone."""
    said = f"{shell.format('/var/lib/lxcfs/' + watch.ASKED)}: {os.strerror(number)}"
    assert watch.heard(said) == (said, served)


@pytest.mark.parametrize("said", ["sh: 1: cannot open /x: No such file", "sh: can't open '/x': no such file", ""])
def test_what_is_not_there_is_not_served(said: str) -> None:
    """Shells have words of their own for what is not there; what can't be understood is no answer either."""
    assert watch.heard(said) == (said, False)


def test_a_host_without_files(tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can't open a file, or start a shell, has not found that nobody serves."""
    asked.write_text("0\n")
    full = "ulimit -n 11; exec 3</dev/null 4<&3 5<&3 6<&3 7<&3 8<&3 9<&3; "
    monkeypatch.setattr(watch, "SCRIPT", full + watch.SCRIPT)
    found = run(tmp_path, watch.Asker.ask)
    assert found.served
    assert found.failure.endswith(f": {os.strerror(errno.EMFILE)}")
    monkeypatch.setattr(watch, "SHELL", str(tmp_path / "none"))
    found = run(tmp_path, watch.Asker.ask)
    assert found.served
    assert str(tmp_path / "none") in found.failure


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

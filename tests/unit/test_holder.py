"""The holder loses no signal, whenever it comes, and starts its child again, later if that fails."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.daemon.holder import SCRIPT, SHELL

if TYPE_CHECKING:
    from pathlib import Path

SUPERVISOR = """#!/bin/sh
echo "$@" >>"$0.log"
case $(grep -c "" "$0.log") in
1) kill -KILL $$ ;;
*) [ "$1" = --ended ] || exec sleep 30 ;;
esac
"""
"""It dies at once the first time, and then serves until it is told to end."""


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_signal_in_the_pause(tmp_path: Path, signal: str) -> None:
    """One that comes between the death of a supervisor and the start of the next is the end of it."""
    supervisor, pause = tmp_path / "supervisor", tmp_path / "sleep"
    supervisor.write_text(SUPERVISOR)
    pause.write_text(f'#!/bin/sh\n[ "$1" = 0.1 ] || exec /bin/sleep "$1"\nkill -{signal} $PPID\n')
    for each in (supervisor, pause):
        each.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([SHELL, "-c", SCRIPT, "holder", supervisor], env=environment, timeout=20)
    assert done.returncode == 0
    assert (tmp_path / "supervisor.log").read_text() == "\n--ended\n"


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (78, 1)])
def test_an_end_is_an_end(status: int, expected: int) -> None:
    """A supervisor that has unmounted, or would fail the next time too, is not started again."""
    done = subprocess.run([SHELL, "-c", SCRIPT, "holder", "sh", "-c", f"exit {status}"], timeout=20)
    assert done.returncode == expected


def pauses(tmp_path: Path, statuses: str) -> tuple[list[str], int]:
    """Return how long the holder of a child that ends so, one time after the other, slept, and its own status."""
    (tmp_path / "sleep").write_text(f"#!/bin/sh\necho $1 >>{tmp_path}/slept\n")
    (tmp_path / "sleep").chmod(0o755)
    child = tmp_path / "child"
    child.write_text(
        f"#!/bin/sh\nread -r word rest <{tmp_path}/statuses\necho $rest >{tmp_path}/statuses\n"
        "[ $word != killed ] || kill -KILL $$\nexit $word\n"
    )
    child.chmod(0o755)
    (tmp_path / "statuses").write_text(f"{statuses}\n")
    done = subprocess.run(
        [SHELL, "-c", SCRIPT, "holder", child],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        timeout=60,
        check=False,
    )
    slept = tmp_path / "slept"
    return slept.read_text().split() if slept.exists() else [], done.returncode


@pytest.mark.parametrize(
    ("statuses", "slept", "expected"),
    [
        ("0", "", 0),
        ("78", "", 1),
        ("1 1 1 1 1 1 1 0", "0.1 0.2 0.5 1 2 5 5", 0),
        ("1 1 killed killed 1 1 0", "0.1 0.2 0.5 0.1 0.1 0.2", 0),
        ("3 3 0", "0.1 0.1", 0),
        ("1 1 143 --ended", "0.1 0.2", 0),
    ],
)
def test_back_off(tmp_path: Path, statuses: str, slept: str, expected: int) -> None:
    """A child that fails waits longer each time, one that was killed or asks for it does not; 0 and 78 are an end."""
    assert pauses(tmp_path, statuses.replace("--ended", "0")) == (slept.split(), expected)

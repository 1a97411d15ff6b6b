"""The holder loses no signal, whenever it comes."""

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

"""The program between the runtime and the command, run on this machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runtime.kernel import stub

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Execute a command by the program, as ``runtime.process.command`` does."""
    program = stub.make(arguments[0])
    assert program >= 0
    try:
        return subprocess.run(
            arguments,
            executable=f"/proc/self/fd/{program}",
            env=environment,
            pass_fds=[program],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(program)


def test_it_executes() -> None:
    """The command has its own arguments, all of them, and the environment."""
    assert run("/bin/sh", "name", "-c", 'echo $X "$0" "$1"', "a b", "c", X="7").stdout == "7 a b c\n"
    assert run("/usr/bin/env", "env").stdout == ""


@pytest.mark.parametrize(("path", "code"), [("/none", 127), ("/etc/passwd", 126), ("/", 126), ("wörd", 127)])
def test_what_can_not_be_executed(path: str, code: int) -> None:
    """It says so by a line and the shells' exit codes."""
    done = run(path, "name")
    assert done.returncode == code
    assert done.stderr == (
        f"pyproc: exec {path}: can't be executed; is it a program of this machine, with its interpreter there?\n"
    )


def test_it_is_no_use_as_itself() -> None:
    """Executed as /proc/self/exe it is the program again, which ends."""
    done = run("/proc/self/exe", "/proc/self/exe", "/none")
    assert done.returncode == 127


def test_where_it_is(tmp_path: Path) -> None:
    """It is executed by its path where /proc shows it, else by its descriptor."""
    program = stub.make("x")
    assert stub.by(program) == f"/proc/self/fd/{program}"
    os.close(program)
    assert stub.by(program) == program


def test_machines() -> None:
    """Every image is an ELF file for its machine, whose one segment is the file."""
    for machine, (number, _) in stub.CODE.items():
        found = stub.image("/bin/true", machine)
        assert found[:4] == b"\x7fELF"
        assert int.from_bytes(found[18:20], sys.byteorder) == number
        assert int.from_bytes(found[96:104], sys.byteorder) == len(found)
    assert platform.machine() in stub.CODE


def test_what_has_no_format_is_refused(tmp_path: Path) -> None:
    """Only that: programs, scripts and what can't be read are for the program to try."""
    odd = tmp_path / "odd"
    odd.write_bytes(b"\0\1")
    odd.chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        stub.refuse(str(odd), ["odd"], {})
    for path in ("/bin/sh", "/none", "/"):
        stub.refuse(path, ["x"], {})

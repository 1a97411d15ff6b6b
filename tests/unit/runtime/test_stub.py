"""The program between the runtime and the command, run on this machine."""

from __future__ import annotations

import itertools
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runtime.kernel import stub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(*arguments: str, label: stub.Label | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Execute a command by the program, as ``runtime.process.command`` does."""
    program = stub.make(arguments[0], label)
    assert program >= 0
    try:
        return subprocess.run(
            arguments,
            executable=f"/proc/self/fd/{program}",
            env=environment,
            pass_fds=[program, *([label.directory] if label else [])],
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


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """Yield an open directory with an empty file ``exec``."""
    (tmp_path / "exec").touch()
    found = os.open(tmp_path, os.O_PATH)
    yield found
    os.close(found)


@pytest.mark.parametrize("text", ["exec a", "exec ab", "exec abc//&d (x)", "system_u:r:t:s0:c1,c2"])
def test_it_says_the_label(tmp_path: Path, directory: int, text: str) -> None:
    """The label is written to the file, whatever its length, and then the command is executed."""
    done = run("/bin/ls", "ls", f"/proc/self/fd/{directory}", label=stub.Label(directory, "exec", text))
    assert (tmp_path / "exec").read_text() == text
    assert "No such file" in done.stderr, "the command has the directory"


def test_nothing_is_executed_without_the_label(tmp_path: Path, directory: int) -> None:
    """If the kernel refuses the label, or can't be told, the command is not executed; no link leads elsewhere."""
    os.symlink("/dev/full", tmp_path / "full")
    os.symlink("/proc/self/fd/1", tmp_path / "jump")
    for name in ("none", "full", "jump"):
        done = run("/bin/echo", "echo", label=stub.Label(directory, name, "exec x"))
        assert (done.stdout, done.returncode) == ("", 126)
        assert "is 'x' still known to the kernel" in done.stderr
    assert (tmp_path / "exec").read_text() == ""


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
    for machine, label in itertools.product(stub.CODE, (None, stub.Label(7, "exec", "label"))):
        number, _ = stub.CODE[machine]
        found = stub.image("/bin/true", machine, label)
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

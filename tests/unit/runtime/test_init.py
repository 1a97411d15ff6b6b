"""The PID 1 of ``--init``, run on this machine and, emulated, on others."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest

from runtime.kernel import init, stub

if TYPE_CHECKING:
    from pathlib import Path

EMULATED = {"aarch64": shutil.which("qemu-aarch64")}
MACHINES = [os.uname().machine, *(machine for machine, emulator in EMULATED.items() if emulator)]


def program(place: Path, machine: str) -> str:
    """Make it a file, and return its path."""
    found = place / machine
    found.write_bytes(stub.image("/bin/sh", machine, init=True))
    found.chmod(0o755)
    return str(found)


def start(place: Path, machine: str, script: str, terminal: int = -1) -> subprocess.Popen[str]:
    """Start a script of the shell below it, in a session that may have a terminal."""
    path = program(place, machine)
    emulator = EMULATED.get(machine) if machine != os.uname().machine else None
    return subprocess.Popen(
        [emulator, "-0", "/bin/sh", path, "sh", "-c", script] if emulator else ["/bin/sh", "sh", "-c", script],
        executable=emulator or path,
        stdin=subprocess.DEVNULL if terminal < 0 else terminal,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=None if terminal < 0 else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("script", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143), ("exec /none", 127), ("true", 0)]
)
def test_its_code_is_the_commands(tmp_path: Path, machine: str, script: str, code: int) -> None:
    """An exit code, or 128 and the signal."""
    with start(tmp_path, machine, f"exec 2>/dev/null; {script}") as found:
        assert found.wait(60) == code


@pytest.mark.parametrize("machine", MACHINES)
def test_it_reaps_others(tmp_path: Path, machine: str) -> None:
    """What ends before the command, a child of its own or not, changes nothing."""
    with start(tmp_path, machine, "(exit 3 &); sleep 0.1; (sleep 0.1; exit 4) & wait $!; echo $?; exit 5") as found:
        assert (found.communicate(timeout=60)[0], found.returncode) == ("4\n", 5)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE, signal.SIGCONT])
def test_it_passes_signals_on(tmp_path: Path, machine: str, number: signal.Signals) -> None:
    """The command gets what PID 1 is sent, and ends by it or not as it likes; it begins with no signal blocked."""
    script = (
        f"trap 'echo got; exit 9' {number.name[3:]}; grep SigBlk: /proc/self/status; while :; do sleep 0.05; done"
    )
    with start(tmp_path, machine, script) as found:
        assert found.stdout is not None
        assert found.stdout.readline() == "SigBlk:\t0000000000000000\n"
        found.send_signal(number)
        assert (found.stdout.read(), found.wait(60)) == ("got\n", 9)


def test_it_has_none_of_its_descriptors(tmp_path: Path) -> None:
    """When the command closes its output, who reads that sees its end."""
    with start(tmp_path, os.uname().machine, "echo out; exec sleep 1000 >&-") as found:
        assert found.stdout is not None
        assert found.stdout.read() == "out\n"
        assert found.poll() is None
        found.send_signal(signal.SIGTERM)
        assert found.wait(60) == 143


def test_a_key_is_one_signal(tmp_path: Path) -> None:
    """What the terminal sends to all of the foreground is not passed on a second time."""
    master, terminal = pty.openpty()
    script = "trap 'echo got' INT; echo up; n=0; while [ $n -lt 10 ]; do sleep 0.05; n=$((n+1)); done; echo end"
    with start(tmp_path, os.uname().machine, script, terminal) as found:
        os.close(terminal)
        assert found.stdout is not None
        assert found.stdout.readline() == "up\n"
        os.write(master, b"\3")
        assert (found.stdout.read(), found.wait(60)) == ("got\nend\n", 0)
    os.close(master)


def test_machines() -> None:
    """It is there wherever the stub is, and in front of it."""
    assert init.CODE.keys() == stub.CODE.keys()
    for machine, code in init.CODE.items():
        plain, whole = stub.image("/x", machine), stub.image("/x", machine, init=True)
        assert len(whole) == len(plain) + len(bytes.fromhex(code))
        assert bytes.fromhex(code) in whole

"""The plugin's process: registered by whoever listens, again and again, or by the runtime that started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import oci, sockets
from lxcfs_py.errors import Error
from lxcfs_py.nri import frames, messages, service
from tests.unit.nri.test_plugin import HEARD
from tests.unit.runtime.test_startup import BIN

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = ("lxcfs-py", "10")
HOOK = oci.hook("/usr/local/bin/lxcfs-py")


def conversation(end: socket.socket) -> int:
    """Be containerd as it was heard, with five frames; return how many it is answered (the first answers us)."""
    end.settimeout(60)
    end.sendall(HEARD)
    reader, found = frames.Reader(), list[frames.Frame]()
    while len(found) < 5:
        data = end.recv(1 << 16)
        assert data
        found += reader.feed(data)
    assert messages.request(found[0].data).method == "RegisterPlugin"
    assert all(not messages.refused(frame.data) for frame in found[1:])
    return len(found) - 1


def test_until_the_runtime_hangs_up() -> None:
    """It registers once, answers all, and returns when the runtime has gone."""
    ours, theirs = socket.socketpair()
    registered: list[bool] = []
    thread = threading.Thread(
        target=service.attend, args=(ours, IDENTITY, HOOK, lambda: registered.append(True)), daemon=True
    )
    with ours, theirs:
        thread.start()
        assert conversation(theirs) == 4
        theirs.close()
        thread.join(60)
        assert not thread.is_alive()
    assert registered == [True]


def test_a_runtime_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for for ever."""
    monkeypatch.setattr(service, "WAIT_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Error, match="has not registered us"):
        service.attend(ours, IDENTITY, HOOK, lambda: None)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield the service, which speaks to ``tmp_path/nri.sock``, and has heard of nobody there yet."""
    command = [str(BIN / "lxcfs-py"), "nri", "--socket", str(tmp_path / "nri.sock")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_runtime_that_comes_and_goes(running: subprocess.Popen[str], tmp_path: Path) -> None:
    """The service waits for one, and for the next; the log has each change once."""
    assert running.stderr is not None
    assert "no runtime listens" in running.stderr.readline()
    for _ in range(2):
        listening = sockets.listen(str(tmp_path / "nri.sock"))
        listening.socket.settimeout(60)
        end, _address = listening.socket.accept()
        with end:
            assert conversation(end) == 4
            assert running.stderr.readline().startswith("lxcfs-py: containerd 1.7.24")
            assert "registered at" in running.stderr.readline()
            listening.close()
        assert "hung up" in running.stderr.readline()
        assert "no runtime listens" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == -signal.SIGINT
    assert running.stderr.read() == ""


def refusal(words: str) -> bytes:
    """Return what a runtime says that won't have us."""
    return frames.pack(frames.Frame(frames.RUNTIME, 1, frames.RESPONSE, messages.refusal(2, words)))


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (HEARD, ["containerd 1.7.24", "registered at ", "the runtime at "]),
        (refusal("no\nREADY=0"), ["PATH: the runtime takes no plugin: no READY=0; see its log"]),
    ],
)
def test_a_runtime_that_does_not_keep_us(
    said: bytes, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not asked again at once, whether it had registered us or not; one that kept us for long is."""
    path = str(tmp_path / "nri.sock")
    listening = sockets.listen(path)
    listening.socket.settimeout(60)

    def runtime() -> None:
        end, _address = listening.socket.accept()
        with end:
            end.sendall(said)
            end.shutdown(socket.SHUT_WR)
            while end.recv(1 << 16):
                pass

    for soon in (True, False):
        thread = threading.Thread(target=runtime)
        thread.start()
        assert service._Service(path, IDENTITY, HOOK).once() is soon
        thread.join(60)
        monkeypatch.setattr(service, "LONGEST_PAUSE_SECONDS", 0)
        written = capsys.readouterr().err.splitlines()
        assert len(written) == len(lines)
        for line, expected in zip(written, lines, strict=True):
            assert line.startswith(f"lxcfs-py: {expected.replace('PATH', path)}")
    listening.close()


def test_a_runtime_that_talks_nonsense(running: subprocess.Popen[str], tmp_path: Path) -> None:
    """It is left, and tried again."""
    assert running.stderr is not None
    assert "no runtime listens" in running.stderr.readline()
    listening = sockets.listen(str(tmp_path / "nri.sock"))
    listening.socket.settimeout(60)
    for nonsense in (b"\xff" * 100, HEARD.replace(b"Configure", b"\xff" * 9), HEARD[:18] + b"\0\0\0\1\0\0\0\0" * 9):
        end, _address = listening.socket.accept()
        with end:
            end.sendall(nonsense)
    end, _address = listening.socket.accept()
    with end:
        assert conversation(end) == 4
    listening.close()


def test_a_child_of_the_runtime() -> None:
    """One that the runtime starts, with nothing but three variables, speaks by the descriptor and ends with it."""
    ours, theirs = socket.socketpair()
    variables = {"NRI_PLUGIN_NAME": "lxcfs-py", "NRI_PLUGIN_IDX": "07", "NRI_PLUGIN_SOCKET": str(ours.fileno())}
    command = [str(BIN / "lxcfs-py"), "nri"]
    with (
        theirs,
        subprocess.Popen(command, pass_fds=[ours.fileno()], env=variables, stderr=subprocess.PIPE) as process,
    ):
        ours.close()
        assert conversation(theirs) == 4
        theirs.close()
        assert process.wait(60) == 0


def test_a_descriptor_that_is_none() -> None:
    """A wrong number is a sentence, not a traceback."""
    for wrong in ("99", "x", "0"):
        environment = {**os.environ, "NRI_PLUGIN_SOCKET": wrong}
        done = subprocess.run(
            [BIN / "lxcfs-py", "nri"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith(b"lxcfs-py: descriptor ")
        assert done.stderr.count(b"\n") == 1


def test_imports() -> None:
    """What runs for ever beside an engine has loaded nothing heavy."""
    code = "import sys; from lxcfs_py.nri import service; print(*sys.modules)"
    here = str(Path(__file__).parents[3])
    command = [sys.executable, "-IS", "-c", f"import sys; sys.path.append({here!r}); {code}"]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"click", "trio", "pyfuse3", "asyncio", "subprocess", "email", "lxcfs_py.registry"}

"""The service's side of systemd's protocols, against a socket that stands for systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.daemon import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTEN = """
import os, sys
count, pid, names, start = int(sys.argv[1]), sys.argv[2], sys.argv[3], 3
for n in range(count):
    os.dup2(os.open("/dev/null", os.O_RDONLY), start + n)
os.environ.update(LISTEN_PID=pid or str(os.getpid()), LISTEN_FDS=sys.argv[1], LISTEN_FDNAMES=names)
from lxcfs_py.daemon import notify
found = notify.stored()
kept = [n for n in range(start, start + count) if os.path.exists(f"/proc/self/fd/{n}")]
flags = [os.get_inheritable(n) for n in found.values()]
print(found, kept, any(flags), [name for name in os.environ if name.startswith("LISTEN_")], notify.stored())
"""


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """Yield the manager's socket, with a path and with an abstract name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        name = f"@lxcfs-py-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
        found.bind("\0" + name[1:] if name[0] == "@" else name)
        found.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield found


def test_states(manager: socket.socket) -> None:
    """A state arrives as it was said, in one datagram."""
    notify.notify("READY=1\nSTATUS=serving")
    notify.notify("WATCHDOG=1")
    assert [manager.recv(4096), manager.recv(4096)] == [b"READY=1\nSTATUS=serving", b"WATCHDOG=1"]


def test_descriptors(manager: socket.socket) -> None:
    """A descriptor handed over is the same open file."""
    ours, theirs = os.pipe()
    notify.notify("FDSTORE=1\nFDNAME=fuse", [ours])
    data, descriptors, _flags, _address = socket.recv_fds(manager, 4096, 4)
    os.write(theirs, b"x")
    assert (data, len(descriptors), os.read(descriptors[0], 1)) == (b"FDSTORE=1\nFDNAME=fuse", 1, b"x")
    for descriptor in (ours, theirs, *descriptors):
        os.close(descriptor)


@pytest.mark.parametrize("address", [None, "", "vsock:2:9999"])
def test_nobody(address: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a manager nothing is sent and nothing is said."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.notify("READY=1")
    assert capsys.readouterr().err == ""


def test_a_manager_that_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manager that can't be reached is a line in the log, no exception."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify.notify("WATCHDOG=1")
    assert "'WATCHDOG=1': FileNotFoundError" in capsys.readouterr().err


def test_a_manager_that_does_not_read(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manager whose queue is full holds us up for no longer than said."""
    monkeypatch.setattr(notify, "WAIT_SECONDS", 0.01)
    for _ in range(2000):
        notify.notify("WATCHDOG=1")
        if said := capsys.readouterr().err:
            break
    assert "TimeoutError" in said


@pytest.mark.parametrize(
    ("count", "pid", "names", "expected"),
    [
        (2, "", "fuse:memory", "{'fuse': 3, 'memory': 4} [3, 4] False [] {}"),
        (3, "", "fuse:memory:fuse", "{'fuse': 3, 'memory': 4} [3, 4] False [] {}"),
        (1, "", "", "{'unknown': 3} [3] False [] {}"),
        (0, "", "", "{} [] False [] {}"),
        (1, "1", "fuse", "{} [3] False [] {}"),
    ],
)
def test_stored(count: int, pid: str, names: str, expected: str) -> None:
    """What was passed to us is found by name and not inherited; what was passed to another is left alone."""
    done = subprocess.run(
        [sys.executable, "-c", LISTEN, str(count), pid, names], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("10000000", "", 5.0), ("10000000", "1", 0.0), ("10000000", None, 5.0), ("x", "", 0.0), (None, None, 0.0)],
)
def test_watchdog(usec: str | None, pid: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog is fed twice in its time, if it is ours."""
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert notify.watchdog_seconds() == seconds

"""Registrations: whole or not at all, and gone without a trace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py import json_text, registry
from lxcfs_py.daemon.sampler import Sampler
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.loads import Loads

if TYPE_CHECKING:
    from collections.abc import Callable

WEB = registry.Registration("web", 7, 42, {"": "/pyproc/web"}, -5)


def test_written_is_read(tmp_path: Path) -> None:
    """What is registered is loaded and listed; a second writing replaces it; afterwards it is unknown."""
    host = Host(run=str(tmp_path))
    for registration in (WEB, WEB.replace(init_pid=8)):
        registry.register(host, registration)
        assert registry.load(host, "web") == registration
    assert registry.ids(host) == ("web",)
    registry.unregister(host, "web", 8, 42)
    registry.unregister(host, "web", 8, 42)
    with pytest.raises(Error, match="not registered"):
        registry.load(host, "web")


def test_another_versions_are_read(tmp_path: Path) -> None:
    """A registration with fewer of the fields that have a default, or more than are known, is one all the same."""
    host = Host(run=str(tmp_path))
    registry.register(host, WEB)
    told = {**WEB.as_dict(), "mood": "good"}
    del told["boottime_offset_nsec"]
    (tmp_path / "lxcfs-py/containers/web.json").write_bytes(json_text.dumps(told))
    assert registry.load(host, "web") == WEB.replace(boottime_offset_nsec=0)


def test_a_writer_that_was_killed_leaves_nothing_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a writer leaves that died before it was done is no registration, and goes with the container."""
    host = Host(run=str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", lambda *_paths: None)
        patched.setattr(os, "unlink", lambda *_paths: None)
        registry.register(host, WEB)
    assert registry.ids(host) == ()
    assert os.listdir(registry.directory(host)) != []
    registry.unregister(host, "web", 7, 42)
    assert os.listdir(registry.directory(host)) == []


def test_a_living_ones_name_is_its_own(tmp_path: Path) -> None:
    """Whose first process lives is neither replaced nor removed by another of its id, say of another --root."""
    ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
    host, alive = Host(run=str(tmp_path)), WEB.replace(init_pid=os.getpid(), init_start_ticks=ticks)
    assert registry.register(host, WEB)
    assert registry.register(host, alive)  # the one before has ended
    assert not registry.register(host, WEB)
    assert registry.register(host, alive)
    for pid, start in ((7, 42), (os.getpid(), ticks + 1), (0, 0)):
        registry.unregister(host, "web", pid, start)
        assert registry.load(host, "web") == alive
    registry.unregister(host, "web", os.getpid(), ticks)
    assert os.listdir(registry.directory(host)) == []


def link(path: Path) -> None:
    """Make a symbolic link to a registration that would be good."""
    real = path.with_name("real")
    real.write_bytes(json_text.dumps(WEB.as_dict()))
    path.symlink_to(real)


def foreign(path: Path) -> None:
    """Make a good registration that another user owns."""
    path.write_bytes(json_text.dumps(WEB.as_dict()))
    os.chown(path, 12345, 12345)


def writable(path: Path) -> None:
    """Make a good registration that all may write."""
    path.write_bytes(json_text.dumps(WEB.as_dict()))
    path.chmod(0o666)


def holding(text: str | bytes) -> Callable[[Path], None]:
    """Return what makes a file that holds this."""

    def make(path: Path) -> None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return make


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
GOOD = json_text.dumps(WEB.as_dict()).decode()
BAD: dict[str, Callable[[Path], None]] = {
    "cut": holding(GOOD[:-9]),
    "empty": holding(b""),
    "garbage": holding(bytes(range(256)) * 40),
    "deep": holding("[" * 60000),
    "another's": holding(GOOD.replace("web", "db")),
    "no number": holding(GOOD.replace("7", '"7"')),
    "huge number": holding(GOOD.replace("42", "9" * 5000)),
    "no process's number": holding(GOOD.replace("7", str(1 << 31))),
    "a way out": holding(GOOD.replace("/pyproc/web", "/../..")),
    "a directory": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link": link,
    "a loop": lambda path: path.symlink_to(path),
    "writable": writable,
}
if os.geteuid() == 0:
    BAD["foreign"] = foreign


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_registration_is_refused(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that can't be trusted or read is no container, and the daemon says so in one line, once."""
    host = Host(run=str(tmp_path))
    (tmp_path / "lxcfs-py/containers").mkdir(parents=True)
    BAD[kind](tmp_path / "lxcfs-py/containers/web.json")
    with pytest.raises(registry.RefusedError) as caught:
        registry.load(host, "web")
    descriptor = os.memfd_create("loads")
    try:
        sampler = Sampler(host, Loads(descriptor))
        for _ in range(3):
            list(sampler.round())
    finally:
        os.close(descriptor)
    assert capsys.readouterr().err == f"lxcfs-py: refused: {caught.value}\n"


@given(st.binary(max_size=400) | JSON.map(json_text.dumps))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds(tmp_path: Path, data: bytes) -> None:
    """No file of any content is taken for a registration, or ends in another error."""
    directory = tmp_path / "lxcfs-py/containers"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "web.json").write_bytes(data)
    with pytest.raises(registry.RefusedError):
        registry.load(Host(run=str(tmp_path)), "web")


@given(st.text(max_size=300))
def test_whatever_a_name_is(name: str) -> None:
    """What is taken for an id is one plain component of a path, and short."""
    if registry.is_id(name):
        assert os.path.basename(name) == name
        assert name not in (".", "..")
        assert len(name) <= registry.MAX_ID

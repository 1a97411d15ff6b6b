"""The records of containers, on disk and against real processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime import claims, state
from runtime.lifecycle import oci
from runtime.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator


def made(root: Path, id_: str = "web", **fields: Any) -> State:
    """Return the state of a container that has been claimed and saved."""
    os.close(claims.claim(str(root), id_))
    found = State(
        id_,
        f"{root}/{id_}",
        f"/bundles/{id_}",
        f"/s/{id_}",
        f"/pyproc/{id_}",
        1_700_000_000_123_456_789,
        ("top", "-b"),
        **fields,
    )
    state.save(found)
    return found


def start_ticks(pid: int) -> int:
    """Return field 22 of /proc/PID/stat."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[19])


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that lives until the test is over."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_saved_is_loaded(tmp_path: Path) -> None:
    """What is saved is what is loaded, odd bytes of the command line included."""
    found = made(tmp_path, pid=5, start_ticks=6, boottime_offset_nsec=-7, exit_code=137, detached=True)
    assert state.load(str(tmp_path), "web") == found
    odd = found.replace(command=("a\udcff", "ü", ""))
    state.save(odd)
    assert state.load(str(tmp_path), "web") == odd
    assert sorted(os.listdir(tmp_path / "web")) == ["claimed", "state.json"]
    assert os.stat(tmp_path / "web" / "state.json").st_mode & 0o777 == 0o600


def test_every_field_has_a_type() -> None:
    """The table that loading checks by names every field of the record."""
    assert set(state.TYPES) == set(State("i", "d", "b", "s", "c", 0).as_dict())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xff\xfe", b'{"id": "web"}', b"[" * 100_000, b"\0" * 100],
)
def test_garbage_is_an_error(tmp_path: Path, content: bytes) -> None:
    """A state that is no state is one clear line that names the file and how to be rid of it."""
    made(tmp_path)
    (tmp_path / "web" / "state.json").write_bytes(content)
    with pytest.raises(Error) as caught:
        state.load(str(tmp_path), "web")
    assert str(caught.value) == (
        f"{tmp_path}/web/state.json: not a container's state; pyproc delete --force web removes what is left of it"
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
def test_a_damaged_state_is_an_error_or_a_state(tmp_path: Path, data: st.DataObject) -> None:
    """Cut anywhere, or with any field of another type, loading raises the one Error and nothing else."""
    if not (tmp_path / "web").exists():
        made(tmp_path)
        state.save(state.load(str(tmp_path), "web"))
        (tmp_path / "whole").write_bytes((tmp_path / "web" / "state.json").read_bytes())
    whole = (tmp_path / "whole").read_bytes()
    damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if data.draw(st.booleans()):
        values = json.loads(whole)
        values[data.draw(st.sampled_from(sorted(values)))] = data.draw(
            st.one_of(
                st.none(),
                st.lists(st.integers(), min_size=1),
                st.dictionaries(st.text(), st.none()),
                st.floats(),
            )
        )
        damaged = json.dumps(values).encode()
    (tmp_path / "web" / "state.json").write_bytes(damaged)
    try:
        found = state.load(str(tmp_path), "web")
    except Error:
        return
    assert found == State(**{**json.loads(whole), "command": ("top", "-b"), "exit_code": None})


OLD = {
    "id": "web", "directory": "/run/pyproc/web", "bundle": "/b", "storage": "", "cgroup": "/engine/x",
    "created_nsec": 1795654161733687449, "command": ["sleep", "1000"], "pid": 30624, "start_ticks": 4195039,
    "boottime_offset_nsec": 0, "phase": "created", "detached": True, "remove": False, "exit_code": None,
    "annotations": {"a": "b"},
}  # fmt: skip
"""What ``create`` wrote before there were units and times of a start."""


def test_a_state_of_another_version(tmp_path: Path) -> None:
    """A container that an older version made has the usual in newer fields; of a newer one's the known ones count."""
    made(tmp_path)
    for more in ({}, {"io_weight": 7, "mood": ["good"]}):
        (tmp_path / "web/state.json").write_text(json.dumps({**OLD, **more}))
        found = state.load(str(tmp_path), "web")
        assert (found.unit, found.started_nsec) == ("", 0)
        assert {name: value for name, value in found.as_dict().items() if name in OLD} == {
            **OLD,
            "command": ("sleep", "1000"),
        }
    for name in ("id", "directory", "bundle", "storage", "cgroup", "created_nsec"):
        (tmp_path / "web/state.json").write_text(json.dumps({k: v for k, v in OLD.items() if k != name}))
        with pytest.raises(Error, match="not a container's state"):
            state.load(str(tmp_path), "web")


def test_another_containers_state_is_an_error(tmp_path: Path) -> None:
    """A state file in the wrong directory is not believed."""
    made(tmp_path)
    os.rename(tmp_path / "web", tmp_path / "db")
    with pytest.raises(Error, match="not a container's state"):
        state.load(str(tmp_path), "db")


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    """The second to claim a name is refused, whatever became of the first."""
    made(tmp_path)
    with pytest.raises(Error, match="the name 'web' is taken") as caught:
        claims.claim(str(tmp_path), "web")
    assert caught.value.exit_code == 125
    assert state.exists(str(tmp_path), "web")
    assert not state.exists(str(tmp_path), "we")


def test_find(tmp_path: Path) -> None:
    """A container is found by its id; one whose id we made up by its beginning too, if that is nobody else's."""
    for id_ in ("web", "web2", "db", "0123456789ab", "01ab01ab01ab"):
        made(tmp_path, id_)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "file").touch()
    root = str(tmp_path)
    assert state.ids(root) == ("0123456789ab", "01ab01ab01ab", "db", "web", "web2")
    assert [state.find(root, text) for text in ("web", "web2", "012")] == ["web", "web2", "0123456789ab"]
    for text in ("x", "", "d", "../web", ".hidden", "file"):
        with pytest.raises(state.MissingError, match="does not exist"):
            state.find(root, text)
    with pytest.raises(Error, match="'01' is the beginning of 0123456789ab, 01ab01ab01ab"):
        state.find(root, "01")


def test_no_containers_yet(tmp_path: Path) -> None:
    """Without a root directory there are no containers, and none is found."""
    root = str(tmp_path / "absent")
    assert state.ids(root) == ()
    for look in (state.load, state.lock):
        with pytest.raises(state.MissingError):
            look(root, "web")


def test_status_follows_the_process(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """It runs while that very process lives; a zombie, or another process of that pid, is no container."""
    root = str(tmp_path)
    found = made(tmp_path, pid=sleeper.pid, start_ticks=start_ticks(sleeper.pid))
    assert state.status(root, found) == "running"
    assert state.status(root, found.replace(phase="created")) == "created"
    assert state.status(root, found.replace(start_ticks=found.start_ticks + 1)) == "stopped"
    sleeper.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped: a zombie
    assert state.status(root, found) == "stopped"
    sleeper.wait()
    assert state.status(root, found) == "stopped"


def test_status_of_one_being_made(tmp_path: Path) -> None:
    """Without a process it is being made as long as its maker holds the lock, and was given up after that."""
    root = str(tmp_path)
    found = made(tmp_path)
    held = state.lock(root, "web")
    assert state.status(root, found) == "creating"
    assert state.status(root, found, locked=True) == "stopped"
    os.close(held)
    assert state.status(root, found) == "stopped"


def test_the_lock_is_one_holders(tmp_path: Path) -> None:
    """Only one holds it; one who waited for a container that is gone by then is told so."""
    root = str(tmp_path)
    made(tmp_path)
    held = state.lock(root, "web")
    with pytest.raises(BlockingIOError):
        state.lock(root, "web", wait=False)
    code = "import sys; from runtime import state\n"
    code += "try: state.lock(sys.argv[1], 'web')\nexcept state.MissingError: sys.exit(9)"
    waiter = subprocess.Popen([sys.executable, "-c", code, root])
    waits = f" {waiter.pid} "
    while "-> FLOCK" not in (locks := Path("/proc/locks").read_text()) or waits not in locks:
        assert waiter.poll() is None, "it did not wait"
    os.rename(tmp_path / "web", tmp_path / "gone")
    os.close(held)
    assert waiter.wait(20) == 9


def test_configuration(tmp_path: Path) -> None:
    """The OCI configuration is the copy of the bundle's; one that is none is an error."""
    found = made(tmp_path)
    with pytest.raises(Error, match=r"config.json: No such file"):
        state.config(found)
    state.write(f"{found.directory}/config.json", {"process": {"args": ["x"]}})
    assert state.config(found) == {"process": {"args": ["x"]}}
    for text in ("", "[]", '{"process": 1}'):
        (tmp_path / "web" / "config.json").write_text(text)
        with pytest.raises(Error, match="not an OCI configuration"):
            state.config(found)


def test_a_failed_write_leaves_the_old_state(tmp_path: Path) -> None:
    """What can't be written replaces nothing and leaves nothing lying about."""
    found = made(tmp_path)
    with pytest.raises(TypeError):
        state.write(f"{found.bundle}/state.json", {"x": object()})
    assert state.load(str(tmp_path), "web") == found
    assert sorted(os.listdir(tmp_path / "web")) == ["claimed", "state.json"]


def test_oci_state(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """The state is told in OCI's words, with a pid only while there is a process."""
    root = str(tmp_path)
    found = made(tmp_path, pid=sleeper.pid, start_ticks=start_ticks(sleeper.pid))
    told = oci.describe(root, found)
    assert (told["ociVersion"], told["id"], told["status"]) == (state.OCI_VERSION, "web", "running")
    assert (told["pid"], told["bundle"]) == (sleeper.pid, "/bundles/web")
    assert told["created"] == "2023-11-14T22:13:20.123456789Z"
    assert "exitCode" not in told
    ended = oci.describe(root, found.replace(start_ticks=1, exit_code=3))
    assert (ended["status"], ended["pid"], ended["exitCode"]) == ("stopped", 0, 3)


def test_only_some_can_have_lost_their_maker(tmp_path: Path) -> None:
    """Of containers that are made, and are not to be removed at their end, nothing but a directory is looked at."""
    for id_ in ("making", "made"):
        os.close(claims.claim(str(tmp_path), id_))
    (tmp_path / "made" / state.CLAIMED).rmdir()
    (tmp_path / "made/state.json").touch()
    (tmp_path / "half-removed").mkdir()
    assert claims.unsettled(str(tmp_path)) == ("half-removed", "making")
    with pytest.raises(Error, match="taken"):
        claims.claim(str(tmp_path), "made")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """What can't be written is said by its name, and nothing half written stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="too large") as failed:
            state.write_text(f"{tmp_path}/state.json", b"text", 0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.filename == f"{tmp_path}/state.json"
    assert not os.listdir(tmp_path)

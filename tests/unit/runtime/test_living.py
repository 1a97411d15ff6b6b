"""What the verbs of a container's life decide."""

from __future__ import annotations

import os
import signal
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from lxcfs_py.errors import Error
from lxcfs_py.procfs import pid_stat
from runtime import claims, places, state, units
from runtime.config import joined, spec
from runtime.images.manifest import Config
from runtime.images.resolve import Resolved
from runtime.kernel import holder
from runtime.lifecycle import again, attach, cleanup, ending, hold, inside, inspect, members, service, usage
from runtime.lifecycle.outcome import Outcome
from runtime.process import ids, rootless
from runtime.request import Request
from runtime.state import State
from runtime.verbs import attach as attaching
from runtime.verbs import cp, stats

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = 1_700_000_000_000_000_000


def made(tmp_path: Path, **fields: Any) -> State:
    """Return a container whose log says three things at three times."""
    root, base = tmp_path / "root", tmp_path / "storage/containers/web"
    os.close(claims.claim(str(root), "web"))
    base.mkdir(parents=True)
    found = State(
        "web", f"{root}/web", f"{root}/web", str(base), "/pyproc/web", BASE, ("sh",), detached=True, **fields
    )
    state.save(found)
    pieces = [b"one\ntw", b"o\nthree", b"\nfour\n"]
    (base / "log").write_bytes(b"".join(pieces))
    offsets = [sum(map(len, pieces[:n])) for n in range(3)]
    notes = [struct.pack(holder.TIME, BASE // 10**9 + n, 5, offset) for n, offset in enumerate(offsets)]
    (base / "log.times").write_bytes(b"".join(notes) + b"cut")
    return found


def test_apart_is_over_when_it_is_said() -> None:
    """Whoever has started one in the background is as before, or the command of the next would ignore TERM."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before, files = [signal.getsignal(number) for number in numbers], os.listdir("/proc/self/fd")

    def act(say: Callable[[], None]) -> NoReturn:
        say()
        os._exit(0)

    assert hold.apart(act, "") == 0
    os.wait()
    assert [signal.getsignal(number) for number in numbers] == before
    assert os.listdir("/proc/self/fd") == files


@pytest.mark.parametrize(
    ("pieces", "passed", "left"),
    [
        ([b"ls\n"], b"ls\n", False),
        ([b"a\x10", b"b"], b"a\x10b", False),
        ([b"a\x10", b"\x11b"], b"a", True),
        ([b"\x10\x10\x11"], b"", True),
    ],
)
def test_keys_to_leave(pieces: list[bytes], passed: bytes, left: bool) -> None:
    """The keys to leave are found across pieces, and their beginning alone is typed all the same."""
    keys, got, gone = attach.Keys(attach.KEYS), b"", False
    for piece in pieces:
        try:
            got += keys.take(piece)
        except attach.Leave:
            gone = True
    assert (got.startswith(passed) and got in passed, gone) == (not left or got == b"" or got in passed, left)


def test_detach_keys() -> None:
    """Keys are written as Docker writes them."""
    assert attaching.keys(None) == b"\x10\x11"
    assert attaching.keys("ctrl-x,q") == b"\x18q"
    assert attaching.keys("") == b""
    with pytest.raises(Error, match="'shift-a' is no key"):
        attaching.keys("shift-a")


@pytest.mark.parametrize(
    ("annotations", "signal", "seconds", "expected"),
    [
        ({}, None, None, (15, 10.0)),
        ({spec.STOP_SIGNAL: "SIGQUIT"}, None, None, (3, 10.0)),
        ({spec.STOP_SIGNAL: "SIGQUIT", spec.STOP_TIMEOUT: "2.5"}, "USR1", None, (10, 2.5)),
        ({spec.STOP_TIMEOUT: "-1"}, None, None, (15, None)),
        ({spec.STOP_TIMEOUT: "5"}, None, 0.0, (15, 0.0)),
    ],
)
def test_how_it_is_stopped(
    tmp_path: Path, annotations: dict[str, str], signal: str | None, seconds: float | None, expected: object
) -> None:
    """What is said now counts before what was said when it was made, and that before the usual."""
    assert ending.manner(made(tmp_path, annotations=annotations), signal, seconds) == expected


@pytest.mark.parametrize("text", ["abc", "", "nan", "inf", "1e12", "5s"])
def test_a_bundle_that_says_no_time(tmp_path: Path, text: str) -> None:
    """An annotation that is no number of seconds is an Error that names it, unless a time is said now."""
    found = made(tmp_path, annotations={spec.STOP_TIMEOUT: text})
    with pytest.raises(Error, match=f"'web': annotation {spec.STOP_TIMEOUT} '{text}' is not a number of seconds"):
        ending.manner(found, None, None)
    assert ending.manner(found, None, 3.0) == (15, 3.0)


def test_an_end_that_nobody_told(tmp_path: Path) -> None:
    """It is no success; 0 that was told is."""
    found = made(tmp_path)
    assert [ending.code(found, Outcome(number)) for number in (0, 7)] == [0, 7]
    with pytest.raises(Error, match="'web' has ended, its exit code is not known; its parent, an engine"):
        ending.code(found, Outcome())
    with pytest.raises(Error, match="--rm"):
        ending.code(found.replace(remove=True), Outcome())


def test_whose_root_a_copy_becomes() -> None:
    """It is the one of the container's user namespace; without one there nothing is copied to the host's."""
    map_ = [{"containerID": 1, "hostID": 300000, "size": 65536}, {"containerID": 0, "hostID": 4242, "size": 1}]
    assert inside.Place().owner() == (0, 0)
    assert inside.Place(-1, (map_, ids.SAME)).owner() == (4242, 0)
    for lacking in ([], map_[:1]):
        with pytest.raises(Error, match="has no root; give --archive"):
            inside.Place(-1, (lacking, map_)).owner()
        assert inside.Place(-1, (lacking, map_)).owner(needed=False) == (0, 4242)


def test_ids_through_a_map() -> None:
    """Each way, an id has one that is called otherwise on the other side, or none."""
    map_ = [{"containerID": 0, "hostID": 4242, "size": 1}, {"containerID": 1, "hostID": 300000, "size": 10}]
    assert [ids.outer(map_, id_) for id_ in (0, 1, 10, 11)] == [4242, 300000, 300009, None]
    assert [ids.inner(map_, id_) for id_ in (4242, 300009, 0, 300010)] == [0, 10, None, None]


def test_where_a_user_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in a user namespace: the container's while that runs, else a new one; somebody else's is refused."""
    spaces: list[int] = []
    found = made(tmp_path).replace(pid=os.getpid())
    monkeypatch.setattr(places, "USER", 1000)
    monkeypatch.setattr(rootless, "inside", lambda _act, container: spaces.append(container))
    monkeypatch.setattr(state, "status", lambda *_all: state.STOPPED)
    inside.within(str(tmp_path / "root"), found, lambda: None)
    assert spaces == [-1]
    monkeypatch.setattr(state, "status", lambda *_all: state.RUNNING)
    uid, gid = ([{"containerID": 0, "hostID": id_, "size": 1}] for id_ in (os.getuid(), os.getgid()))
    monkeypatch.setattr(ids, "of", lambda _pid: (uid, gid))
    inside.within(str(tmp_path / "root"), found, lambda: None)
    assert spaces[1] >= 0
    os.close(spaces[1])
    monkeypatch.setattr(ids, "of", lambda _pid: ([{"containerID": 0, "hostID": 300000, "size": 1}], gid))
    with pytest.raises(Error, match="its root is user 300000 of the host, not you; pass a tar through pyproc exec"):
        inside.within(str(tmp_path / "root"), found, lambda: None)
    with pytest.raises(Error, match="has just ended; try again"):
        inside.within(str(tmp_path / "root"), found.replace(pid=1 << 22), lambda: None)


def test_into_a_bundle_that_has_ended(tmp_path: Path) -> None:
    """What is not mounted any more is not copied from, and nobody is told that it was to be started."""
    with pytest.raises(Error, match="'web': its root is its bundle's, and not mounted any more; look there"):
        inside.opened(str(tmp_path / "root"), made(tmp_path).replace(storage="", exit_code=0), -1)


def test_whose_processes(tmp_path: Path) -> None:
    """With neither cgroup nor pid namespace they are what its first process brought forth, while it lives."""
    own = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    found = made(tmp_path).replace(cgroup="", pid=os.getpid(), start_ticks=own)
    assert members.pids(found)[-1:] == [os.getpid()]
    assert members.pids(found.replace(start_ticks=1)) == members.pids(found.replace(pid=0)) == []


def test_grace() -> None:
    """No time and any time are times to end in."""
    assert [units.grace(text, "-t") for text in ("0", "-1", "0s", "3", "1m")] == [0.0, -1.0, 0.0, 3.0, 60.0]
    with pytest.raises(Error, match="-t 'x': not a time"):
        units.grace("x", "-t")


def test_a_request_is_kept(tmp_path: Path) -> None:
    """What was asked for comes back whole, by the name and with the limits the container has now."""
    found = made(tmp_path)
    spec: dict[str, Any] = {"process": {"args": ["sh"]}, "linux": {"cgroupsPath": "/pyproc/web"}, "annotations": {}}
    asked = Request(
        "old", spec, rootfs="/srv", init=True, root=str(tmp_path / "root"), storage=str(tmp_path / "storage")
    )
    again.keep(asked, found.storage)
    state.write(f"{found.directory}/config.json", {**spec, "hostname": "now"})
    assert again.kept(found) == asked.replace(id="web", spec={**spec, "hostname": "now"})
    image = Resolved(
        "a:1",
        "f00",
        ("/l/1", "/l/2"),
        ("1", "2"),
        Config(entrypoint=("sh",), labels={"class": "subprocess:Popen", "range": "1"}),
    )
    again.keep(asked.replace(image=image), found.storage)
    assert again.kept(found).image == image
    with pytest.raises(Error, match="it is removed when it ends"):
        again.kept(found.replace(remove=True))
    Path(found.storage, state.REQUEST).write_text('{"class": "subprocess:Popen"}')
    with pytest.raises(Error, match="can't be read"):
        again.kept(found)
    os.unlink(f"{found.storage}/{state.REQUEST}")
    with pytest.raises(Error, match="'web' can't be started: it is stopped"):
        again.kept(found)


def test_whose_namespaces_it_joins(tmp_path: Path) -> None:
    """Who joins another container is in the namespaces that one has now, and in none if it does not run."""
    found = made(tmp_path)
    stat = pid_stat.parse(Path("/proc/self/stat").read_bytes())
    assert stat is not None
    spaces = [{"type": "network", "path": "/proc/77/ns/net"}, {"type": "pid"}, {"type": "ipc", "path": "/a"}]
    spec: dict[str, Any] = {"linux": {"namespaces": spaces}, "annotations": {joined.JOINED["network"]: "web"}}
    asked = Request("side", spec, root=str(tmp_path / "root"))
    with pytest.raises(Error, match="--network container:web: it does not run; start it first"):
        joined.renewed(asked)
    state.save(found.replace(pid=os.getpid(), start_ticks=stat.start_ticks))
    renewed = joined.renewed(asked)
    assert renewed.spec["linux"]["namespaces"][0]["path"] == f"/proc/{os.getpid()}/ns/net"
    assert renewed.spec["linux"]["namespaces"][1:] == spaces[1:]
    assert renewed.names.shared == f"{found.storage}/etc"
    state.write(f"{found.directory}/config.json", {"process": {}, "linux": {}})
    os.rename(found.directory, f"{tmp_path}/gone")
    with pytest.raises(Error, match="'web' does not exist"):
        joined.renewed(asked)


def test_a_name_that_comes_back(tmp_path: Path) -> None:
    """The name of a container whose state went with the boot is taken, and nobody touches its files."""
    root, storage = str(tmp_path / "root"), str(tmp_path / "storage")
    base = f"{storage}/containers/web"
    os.close(again.room(root, "web", base))
    again.keep(Request("web", {"process": {"args": ["sh"]}, "annotations": {}}, root=root, storage=storage), base)
    os.rmdir(f"{root}/web/{state.CLAIMED}")
    os.rmdir(f"{root}/web")
    with pytest.raises(Error, match="'web' is taken"):
        again.room(root, "web", base)
    assert os.listdir(root) == []
    os.close(claims.claim(root, "web"))  # and if we are killed while it comes back
    cleanup.sweep(root, storage)
    assert (os.listdir(root), os.listdir(base)) == ([], [state.REQUEST])
    again.revive(root, storage)
    assert state.load(root, "web").command == ("sh",)


def test_after_a_boot(tmp_path: Path) -> None:
    """A container whose state went with the boot is there again, ended; another root's is not."""
    found = made(tmp_path)
    root, storage = str(tmp_path / "root"), str(tmp_path / "storage")
    spec: dict[str, Any] = {
        "process": {"args": ["sh"]},
        "linux": {"cgroupsPath": "/pyproc/web"},
        "annotations": {"a": "b"},
    }
    again.keep(Request("web", spec, root=root, storage=storage, detach=True), found.storage)
    os.rename(root, tmp_path / "gone")
    again.revive("/elsewhere", storage)
    again.revive(root, storage)
    anew = state.load(root, "web")
    assert (anew.command, anew.annotations, anew.detached) == (("sh",), {"a": "b"}, True)
    assert state.status(root, anew) == state.STOPPED
    assert again.kept(anew).spec == spec
    again.revive(root, storage)


def test_units_of_systemd(tmp_path: Path) -> None:
    """A unit starts and stops the container by name, and again as the policy says."""
    found = made(tmp_path)
    text = service.unit(found, "on-failure:3", 7, "/usr/bin/pyproc")
    place = f'--root "{tmp_path}/root" --storage "{tmp_path}/storage" web'
    for line in (
        f'ExecStart="/usr/bin/pyproc" start {place}', f'ExecStop="/usr/bin/pyproc" stop {place}',
        "Restart=on-failure",
        "StartLimitBurst=4", "StartLimitIntervalSec=infinity", "TimeoutStopSec=27s",
        "Type=notify",
    ):  # fmt: skip
        assert f"{line}\n" in text
    assert "Restart=always\n" in service.unit(found, "unless-stopped", None, "/p")
    assert "TimeoutStopSec=infinity\n" in service.unit(found, "always", None, "/p")
    assert service.name(found.replace(directory="/run/pyproc/web")) == "pyproc-web.service"
    names = {service.name(found.replace(directory=f"{root}/web")) for root in ("/a", "/b", "/run/pyproc")}
    assert len(names) == 3 and all(name.startswith("pyproc-web") for name in names)
    assert service.quoted('/a b/"$%\\') == '"/a b/\\"$$%%\\\\"'
    for wrong in ("sometimes", "always:3", "on-failure:", "on-failure:0", "on-failure:x"):
        with pytest.raises(Error, match=r"--restart .*choose no, on-failure\[:N\], always or unless-stopped"):
            service.policy(wrong)


def test_units_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user's are its own systemd's, which begins with its login unless it lingers: that is said."""
    assert service.units() == "/etc/systemd/system" and service.linger("always", str(tmp_path)) == ""
    monkeypatch.setattr(places, "USER", os.geteuid() or 54321)
    monkeypatch.setattr(places, "rootless", lambda: True)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert service.units() == "/home/me/.config/systemd/user"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    assert service.units() == "/c/systemd/user"
    text = service.unit(made(tmp_path), "always", 7, "/p")
    assert "WantedBy=default.target\n" in text and "lxcfs-py.service" not in text
    me = ids.name(places.USER)
    assert service.linger("always", str(tmp_path)).endswith(f"loginctl enable-linger {me}")
    assert service.linger("on-failure:3", str(tmp_path)) == ""
    (tmp_path / me).touch()
    assert service.linger("unless-stopped", str(tmp_path)) == ""


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("web:/etc", "x", (("web", "/etc"), ("", "x"))),
        ("./a:b", "web:/", (("", "./a:b"), ("web", "/"))),
        ("-", "web:d", (("", "-"), ("web", "d"))),
    ],
)
def test_sides_of_a_copy(source: str, target: str, expected: tuple[tuple[str, str], ...]) -> None:
    """One side is a container's."""
    assert tuple((each.container, each.path) for each in cp.sides(source, target)) == expected


@pytest.mark.parametrize(("source", "target"), [("a:b", "c:d"), ("/a", "/b"), ("a:", "/b")])
def test_no_sides_of_a_copy(source: str, target: str) -> None:
    """Two containers, or none, are refused."""
    with pytest.raises(Error, match="cp: "):
        cp.sides(source, target)


def test_inspect(tmp_path: Path) -> None:
    """Limits and state are told by Docker's keys, in its units; an unknown exit code is null."""
    config = {
        "process": {"args": ["sh", "-c"], "cwd": "/", "terminal": True, "user": {"uid": 5, "gid": 6}},
        "mounts": [{"type": "bind", "source": "/a", "destination": "/b", "options": ["bind", "ro"]}],
        "linux": {
            "resources": {"memory": {"limit": 64}, "cpu": {"quota": 150_000}},
            "namespaces": [{"type": "network"}],
        },
    }
    found = inspect.describe(str(tmp_path / "root"), made(tmp_path), config)
    assert (found["HostConfig"]["Memory"], found["HostConfig"]["NanoCpus"]) == (64, 1_500_000_000)
    assert (found["State"]["Status"], found["State"]["ExitCode"], found["Path"], found["Args"]) == (
        "exited",
        None,
        "sh",
        ["-c"],
    )
    assert found["Mounts"] == [{"Type": "bind", "Source": "/a", "Destination": "/b", "RW": False}]
    assert (found["HostConfig"]["NetworkMode"], found["Config"]["User"]) == ("none", "5:6")


def test_usage() -> None:
    """CPU time between two samples is per cent of one CPU; a container just seen has used nothing yet."""
    first = usage.Sample(0, 1_000_000, 1.5, 32 << 20, 64 << 20, 3)
    later = first.replace(when_nsec=2 * 10**9, cpu_usec=2_000_000)
    ((found), new) = usage.between({"web": first}, {"web": later, "new": later})
    assert (found["cpu_percent"], found["memory_percent"], found["cpus"]) == (50.0, 50.0, 1.5)
    assert new["cpu_percent"] == 0.0
    assert usage.cpu_percent(later, first) == 0.0


def test_usage_without_a_cgroup() -> None:
    """What is not known is not told as a number."""
    first = usage.Sample(0, None, 2, None, 64 << 20, None, None, None)
    (found,) = usage.between({"web": first}, {"web": first.replace(when_nsec=10**9)})
    unknown = ("cpu_percent", "memory_bytes", "memory_percent", "read_bytes", "written_bytes", "pids")
    assert [found[key] for key in unknown] == [None] * len(unknown)
    assert [stats.row(found)[key] for key in stats.LISTING.usual] == [
        "web", "--", "2", "-- / 67.1 MB", "--", "--", "--", "--",
    ]  # fmt: skip
    assert stats.picture([[found]], 80).startswith("web: CPU -- of 200%")


def test_network() -> None:
    """All interfaces but the loopback count."""
    row = "{:>6}: {} 1 0 0 0 0 0 0 {} 2 0 0 0 0 0 0\n"
    text = "Inter-|\n face |\n" + row.format("lo", 9, 9) + row.format("eth0", 10, 20) + row.format("eth1", 1, 2)
    assert usage.network(text) == (11, 22)

"""What is decided for ordinary users: ids, places, cgroups, and what of a configuration is different."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.cgroup.limits import Limits
from lxcfs_py.errors import Error
from runtime import cli, options, places, volumes
from runtime.config import rootless, spec
from runtime.lifecycle import cleanup
from runtime.process import delegated, ids, resources
from runtime.process import rootless as process_rootless
from runtime.request import Request
from runtime.root import mounts, plan, rootfs
from runtime.state import State
from runtime.systemd import bus, scope
from runtime.verbs import prune

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OWN = ids.Own(ids.rows(1000, [(100000, 65536)]), ids.rows(1000, [(100000, 65536)]))
ALONE = ids.Own(ids.rows(1000, ()), ids.rows(1000, ()), "why")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("me:100000:65536\n", [(100000, 65536)]),
        ("other:1:2\n1000:5:6\nme:7:8\nmehr:9:9\n", [(5, 6), (7, 8)]),
        ("me:x:5\nme:5\nme:5:\nme:5:0\n#me:1:1\nme", []),
    ],
)
def test_ranges(text: str, expected: list[tuple[int, int]]) -> None:
    """Lines for the user by name and by number count; others, and what is no line of subuid(5), do not."""
    assert ids.ranges(text, ("me", "1000")) == expected


def test_rows() -> None:
    """The user is root, all further ids follow without a gap."""
    found = ids.rows(1000, [(100000, 10), (500000, 5)])
    assert [tuple(row.values()) for row in found] == [(0, 1000, 1), (1, 100000, 10), (11, 500000, 5)]
    assert [ids.has(found, number) for number in (0, 1, 15, 16)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([(100, 10), (100, 10)], [(1, 100, 10)]),  # by name and by number
        ([(100, 10), (105, 10)], [(1, 100, 10), (11, 110, 5)]),
        ([(105, 5), (100, 20)], [(1, 105, 5), (6, 100, 5), (11, 110, 10)]),
        ([(990, 20)], [(1, 990, 10), (11, 1001, 9)]),  # the user's own id among them
        ([(1000, 1)], []),
        ([(5, 3), (1, 4), (8, 2)], [(1, 5, 3), (4, 1, 4), (8, 8, 2)]),
    ],
)
def test_rows_that_overlap(others: list[tuple[int, int]], expected: list[tuple[int, int, int]]) -> None:
    """The kernel takes no id twice: of ranges that overlap each id is given once."""
    found = ids.rows(1000, others)
    assert [tuple(row.values()) for row in found] == [(0, 1000, 1), *expected]
    given = [id_ for row in found for id_ in range(row["hostID"], row["hostID"] + row["size"])]
    assert len(given) == len(set(given))


def adapted(own: ids.Own, *line: str) -> dict[str, Any]:
    """Return a command line's configuration as an ordinary user's."""
    return rootless.adapt(spec.config(options.parse([*line, "true"]), "web", {}, time=True), own)


def test_what_is_different() -> None:
    """There is a user namespace with the ids; a group that isn't mapped owns no terminal."""
    found = adapted(OWN)
    assert found["linux"]["namespaces"][0] == {"type": "user"}
    assert (found["linux"]["uidMappings"], plan.groups(found["linux"])) == (OWN.uids, True)
    terminals = {mount["destination"]: mount["options"] for mount in found["mounts"]}["/dev/pts"]
    assert "gid=5" in terminals
    found = adapted(ALONE)
    assert not plan.groups(found["linux"])
    assert not any("gid=5" in mount["options"] for mount in found["mounts"])


def test_the_hosts_network() -> None:
    """Sysfs is the network namespace's: the host's is bound, all of it read-only."""
    kinds = {mount["destination"]: mount for mount in adapted(OWN, "--network", "host")["mounts"]}
    assert (kinds["/sys"]["type"], kinds["/sys"]["source"]) == ("bind", "/sys")
    assert {"rbind", "rro", "rnosuid", "rnoexec", "rnodev"} <= set(kinds["/sys"]["options"])
    assert {mount["destination"]: mount for mount in adapted(OWN)["mounts"]}["/sys"]["type"] == "sysfs"


def test_layers_of_a_user() -> None:
    """A user's overlay marks what is deleted in attributes of its own; what has mounts below it is bound instead."""
    shown, secrets = (("usr", ""), ("etc", "")), ("shadow", "db/conf")
    facts = rootfs.Facts(shown, secrets, "ext4", user=True, covered=frozenset(("etc",)))
    _, steps = rootfs.steps((), "/base", facts, ())
    overlays = {step.target: step for step in steps if isinstance(step, mounts.Overlay)}
    assert overlays.keys() == {"/base/root/", "/base/root/usr"}
    assert overlays["/base/root/usr"].lowers == ("/base/init/usr", "/usr")
    assert all("userxattr" in overlay.options for overlay in overlays.values())
    assert mounts.Mount("/etc", "/base/root/etc", "bind", ("rbind", "rro", "rnodev", "rprivate")) in steps
    assert all(mounts.Mask(f"/base/root/etc/{secret}") in steps for secret in secrets)
    text = b"1 0 8:1 / / rw - ext4 x rw\n2 1 8:1 /h /etc/hosts rw - ext4 x rw\n3 1 8:2 / /usr rw - ext4 x rw\n"
    assert rootfs.gather((), "/base", text, user=True).covered == {"etc"}
    assert rootfs.gather((), "/base", text).covered == set()


def test_who_is_root_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody makes a user namespace within one: what is asked for is done at once, and its exit code returned."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    done: list[int] = []

    def act() -> int:
        done.append(os.getpid())
        return 7

    assert process_rootless.inside(act) == 7
    assert process_rootless.inside(lambda: None) == 0
    assert done == [os.getpid()]


@pytest.mark.parametrize(("raised", "code"), [(None, 3), (BrokenPipeError(), 141), (KeyboardInterrupt(), 130)])
def test_how_a_verb_among_a_users_ids_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException | None, code: int
) -> None:
    """A verb that works in a user namespace has the exit code it would have without."""

    def run(_args: object) -> int:
        if raised is not None:
            raise raised
        return 3

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(places, "USER", 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # else a directory in /tmp is made for it
    monkeypatch.setattr(prune, "run", run)
    monkeypatch.setattr(sys, "argv", ["pyproc", "prune"])
    assert cli.main("pyproc") == code


def test_removing_a_users_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its volumes and its files go by one act among the user's ids, and none is made for what has gone."""
    acts: list[object] = []

    def inside(act: Callable[[], None]) -> None:
        acts.append(act)
        act()

    monkeypatch.setenv(places.VARIABLE, str(tmp_path))
    monkeypatch.setattr(places, "USER", 1000)
    monkeypatch.setattr(process_rootless, "inside", inside)
    base = tmp_path / "containers/web"
    base.mkdir(parents=True)
    volumes.claim([volumes.Volume("f" * 64, anonymous=True), volumes.Volume("v")], str(tmp_path), str(base))
    found = State("web", str(tmp_path / "web"), "", str(base), "", 1, ())
    cleanup.cleanup(found, Layout({}), volumes=True)
    cleanup.cleanup(found, Layout({}), volumes=True)
    assert (len(acts), volumes.names(str(tmp_path)), base.exists()) == (1, ["v"], False)


@pytest.fixture
def tree(tmp_path: Path) -> Layout:
    """Return a cgroup2 in which /a/b is delegated, and offers two controllers."""
    for at in (tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c"):
        at.mkdir(exist_ok=True)
        for name in ("cgroup.procs", "cgroup.subtree_control"):
            (at / name).write_text("")
        (at / "cgroup.controllers").write_text("memory pids\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("3:memory:/x\n0::/a/b/c\n")
    return Layout(
        {"": Hierarchy(2, str(tmp_path), controllers=("cpu", "memory", "pids")), "freezer": Hierarchy(1, "/f")}
    )


def test_where_a_cgroup_may_be(tree: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made below the topmost cgroup that is the user's, of cgroup2 alone; without one there is none."""
    ours = (f"{tmp_path}/a/b",)
    monkeypatch.setattr(os, "access", lambda path, _how: str(path).startswith(ours))
    assert delegated.top(str(tmp_path), tree) == "/a/b"
    found, path = delegated.below(tree, "", "web", "/a/b")
    assert (list(found.hierarchies), found.hierarchies[""].controllers) == ([""], ("memory", "pids"))
    assert path == "/a/b/pyproc/web"
    assert delegated.below(tree, "/a/b/x", "web", "/a/b")[1] == "/a/b/x"
    (tmp_path / "a/b/cgroup.procs").write_text("1\n")  # where somebody lives no more can be enabled
    assert delegated.below(tree, "", "web", "/a/b")[0].hierarchies[""].controllers == ()
    monkeypatch.setattr(os, "access", lambda _path, _how: False)
    assert delegated.top(str(tmp_path), tree) is None
    assert delegated.below(tree, "/some/where", "web", None) == (Layout({}), "")


@pytest.mark.parametrize(
    ("manager", "asked", "serves", "expected"),
    [
        ("", "", True, ("/user/user.slice/pyproc-web.scope", "pyproc-web.scope", ("memory",))),
        ("systemd", "", True, ("/user/user.slice/pyproc-web.scope", "pyproc-web.scope", ("memory",))),
        ("", "a-b.slice:pre:x", True, ("/user/a.slice/a-b.slice/pre-x.scope", "pre-x.scope", ("memory",))),
        ("", "", False, ("/a/b/pyproc/web", "", ("memory", "pids"))),
        ("", "a-b.slice:pre:x", False, ("/a/b/pyproc/web", "", ("memory", "pids"))),
        ("", "/a/b/x", True, ("/a/b/x", "", ("memory", "pids"))),
        ("cgroupfs", "", True, ("/a/b/pyproc/web", "", ("memory", "pids"))),
        ("disabled", "", True, ("", "", None)),
    ],
)
def test_who_makes_a_cgroup(
    tree: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manager: str,
    asked: str,
    serves: bool,
    expected: Any,
) -> None:
    """A user's systemd does if it serves and nobody else is asked for, with what root has delegated to it."""

    def users(_proc: str) -> str:
        if not serves:
            raise bus.UnreachableError("nobody", "")
        return "/user"

    (tmp_path / "user").mkdir()
    (tmp_path / "user/cgroup.controllers").write_text("memory\n")
    monkeypatch.setattr(scope, "users", users)
    monkeypatch.setattr(places, "USER", 1000)
    monkeypatch.setattr(places, "BOOTED", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, _how: str(path).startswith(f"{tmp_path}/a/b"))
    layout = Layout({"": tree.hierarchies[""]})
    request = Request("web", {"linux": {"cgroupsPath": asked} if asked else {}}, manager=manager)
    found, path, unit = delegated.place(str(tmp_path), layout, request)
    offered = found.hierarchies[""].controllers if found.hierarchies else None
    assert (path, unit.name if unit else "", offered) == expected


def test_who_cannot(tree: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user's systemd is asked for and does not serve, or limits nothing as on v1, that is said."""

    def users(_proc: str) -> str:
        raise bus.UnreachableError("can't reach systemd: /run/user/1000", "")

    monkeypatch.setattr(scope, "users", users)
    monkeypatch.setattr(places, "BOOTED", str(tmp_path))
    request = Request("web", {"linux": {}}, manager="systemd")
    with pytest.raises(Error, match="can't reach systemd: /run/user/1000"):
        delegated.place(str(tmp_path), tree, request)
    monkeypatch.setattr(scope, "users", lambda _proc: "/user")
    bare = Layout({"": tree.hierarchies[""].replace(controllers=("hugetlb",))})
    with pytest.raises(Error, match="the systemd cgroup manager: it takes cgroup v2 alone"):
        delegated.place(str(tmp_path), bare, request)


def test_what_is_limited(tree: Layout) -> None:
    """Limits whose controllers aren't offered are left out and named."""
    asked = Limits(
        memory_bytes=1, cpu_quota_usec=2, cpuset_cpus="0", io=((8, 0, "rbps", 1),), unified={"misc.max": "1"}
    )
    part = Layout({"": tree.hierarchies[""].replace(controllers=("memory",))})
    found, missing = delegated.enforced(asked, part)
    assert found == Limits(memory_bytes=1)
    assert set(missing) == {"cpu", "cpuset", "io", "misc"}
    assert set(delegated.enforced(asked, Layout({}))[1]) == {"memory", "cpu", "cpuset", "io", "misc"}


LIMITING = {
    "memory": (
        "-m=64m",
        "--memory-reservation=32m",
        "-m=64m --memory-swap=128m",
        "--memory-swappiness=5",
        "--oom-kill-disable",
    ),
    "cpu": ("--cpus=0.5", "--cpu-shares=100", "--cpu-quota=50000", "--cpu-period=50000"),
    "cpuset": ("--cpuset-cpus=0", "--cpuset-mems=0"),
    "pids": ("--pids-limit=10",),
    "io": (
        "--blkio-weight=100",
        *(f"--device-{what}=/dev/sda:1" for what in ("read-bps", "write-bps", "read-iops", "write-iops")),
    ),
}
"""What limits a container, by the controller it takes."""


@pytest.mark.parametrize(("controller", "line"), [(name, each) for name, lines in LIMITING.items() for each in lines])
def test_each_limit_is_named(controller: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cgroup every option that limits is said not to, and in one where its controller is missing."""
    monkeypatch.setattr(resources, "_throttle", lambda _name, _path, rate: {"major": 8, "minor": 0, "rate": rate})
    asked = resources.limits(resources.build(options.parse([*line.split(), "true"])))
    assert delegated.enforced(asked, Layout({})) == (Limits(), (controller,))
    other = Hierarchy(2, "/", controllers=tuple(LIMITING.keys() - {controller}))
    assert delegated.enforced(asked, Layout({"": other})) == (Limits(), (controller,))
    one = Hierarchy(2, "/", controllers=(controller,))
    assert delegated.enforced(asked, Layout({"": one})) == (asked, ())


def test_every_limit_has_a_row() -> None:
    """An option that is declared among those that limit is among the rows above."""
    names = [option.flags[-1] for option in options.RUN]
    declared = names[names.index("--memory") : names.index("--device-write-iops") + 1]
    written = " ".join(" ".join(lines) for lines in LIMITING.values()).replace("-m=", "--memory=")
    assert [name for name in declared if name not in written] == ["--oom-score-adj"]  # which takes no cgroup


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's directories are the system's, a user's those of its session and its home."""
    monkeypatch.setattr(places, "USER", 0)
    assert (places.state(), places.storage()) == ("/run/pyproc", "/var/lib/pyproc")
    monkeypatch.setattr(places, "USER", os.geteuid() or 1)
    for name, value in (("XDG_RUNTIME_DIR", tmp_path), ("XDG_DATA_HOME", "/data"), ("HOME", "/home/me")):
        monkeypatch.setenv(name, str(value))
    assert (places.state(), places.storage()) == (f"{tmp_path}/pyproc", "/data/pyproc")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert places.storage() == "/home/me/.local/share/pyproc"
    monkeypatch.setenv("HOME", "~")
    with pytest.raises(Error, match="has no home: HOME is '~'; set it, or give a --storage of yours"):
        places.storage()


@pytest.mark.parametrize("namespace", [False, True])
def test_places_of_a_namespaces_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, namespace: bool) -> None:
    """Root who may not write in /run has the directories of the user it is, but only in a user namespace."""
    for name, value in (("XDG_RUNTIME_DIR", tmp_path), ("XDG_DATA_HOME", "/data")):
        monkeypatch.setenv(name, str(value))
    system, users = (f"{tmp_path}/not/there", "/var/lib/pyproc"), (f"{tmp_path}/pyproc", "/data/pyproc")
    monkeypatch.setattr(places, "USER", 0)
    monkeypatch.setattr(places, "STATE", system[0])
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        monkeypatch.setattr(places, "ALL_IDS", [] if namespace else file.read().split())
    assert (places.state(), places.storage()) == (users if namespace else system)


def test_a_session_of_somebody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of a session counts if it is the user's own: su(1) may have left another's."""
    monkeypatch.setattr(places, "USER", os.geteuid() + 77)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert places.session() == str(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 123456)
    assert places.session() == ""
    monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}/none")
    assert places.session() == ""


def test_a_directory_of_somebody_elses(tmp_path: Path) -> None:
    """Where there is no directory of a session one in /tmp must be the user's alone, and no link."""
    assert places._own(f"{tmp_path}/new") == f"{tmp_path}/new"
    assert places._own(f"{tmp_path}/new") == f"{tmp_path}/new"
    (tmp_path / "link").symlink_to(tmp_path / "new")
    (tmp_path / "open").mkdir(0o755)
    for name in ("link", "open"):
        with pytest.raises(Error, match="not a directory of yours alone; set XDG_RUNTIME_DIR"):
            places._own(f"{tmp_path}/{name}")

"""Extended attributes: through every way files go, and where ids are others."""

from __future__ import annotations

import os
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.images import docker_archive, member, tar, tree
from tests.live.busybox import until
from tests.live.registry import Registry
from tests.live.test_images import do, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box
    from tests.live.busybox import Bundle, Runtime

pytestmark = pytest.mark.anywhere

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""CAP_NET_BIND_SERVICE, effective: struct vfs_cap_data of linux/capability.h."""


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return a POSIX ACL of tags, permissions and ids (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
OPEN = acl((1, 6, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY))
"""The user 1234 may read, too."""
KEPT = {
    "user.note": b"\0\xff=\n",
    "security.capability": CAPABILITY,
    "system.posix_acl_access": OPEN,
}
DIRECTORYS = {"user.note": b"here", "system.posix_acl_default": OPEN}


def note(top: Path) -> None:
    """Make a file and a directory that have attributes."""
    (top / "d").mkdir(parents=True)
    (top / "d/f").write_text("text")
    for name, value in KEPT.items():
        os.setxattr(top / "d/f", name, value)
    for name, value in DIRECTORYS.items():
        os.setxattr(top / "d", name, value)
    os.utime(top / "d/f", ns=(0, 1_600_000_000_123_456_789))


def noted(top: Path) -> dict[str, dict[str, bytes]]:
    """Return the attributes of both."""
    found = tree(top)
    return {name: found[name]["xattrs"] for name in ("d", "d/f")}


@pytest.fixture
def registry(tmp_path: Path, time_scale: float) -> Iterator[Registry]:
    """Yield a registry."""
    (tmp_path / "registry").mkdir()
    found = Registry(tmp_path / "registry", time_scale)
    yield found
    found.process.terminate()
    found.process.wait()


@pytest.mark.needs_layers
def test_from_one_image_to_the_next(clean: Box, registry: Registry, tmp_path: Path) -> None:
    """Import, run, first use of a volume, copy, commit, push, pull and export keep capabilities, ACLs and others."""
    note(tmp_path / "in")
    layer = tmp_path / "in.tar"
    do("tar", "--xattrs", "--xattrs-include=*", "--format=pax", "-C", tmp_path / "in", "-cf", layer, ".")
    busybox = tar(member("bin/sh", data=Path("/bin/busybox").read_bytes(), mode=0o755, uid=0, gid=0))
    (tmp_path / "it.tar").write_bytes(docker_archive([busybox, layer.read_bytes()], "it", Env=["PATH=/bin"]))
    clean.pyproc("import", str(tmp_path / "it.tar"))
    clean.run("--name", "c", "-v", "v:/d", "--image", "it", "--", "/bin/sh", "-c", "echo x > /new")
    volume = tree(clean.base / "storage/volumes/v/_data", root=True)
    assert (volume["."]["xattrs"], volume["f"]["xattrs"]) == (DIRECTORYS, KEPT)
    clean.run("--name", "b", "--image", "it", "--", "/bin/sh", "-c", "echo more >> /d/f; echo x > /new")
    clean.pyproc("cp", "-a", f"{tmp_path}/in/d", "b:/copied")
    clean.pyproc("cp", f"{tmp_path}/in/d", "b:/plain")
    name = f"{registry.address}/kept:1"
    clean.pyproc("commit", "b", name)
    clean.pyproc("push", *registry.access, name)
    clean.pyproc("rmi", name)
    clean.pyproc("pull", *registry.access, name)
    with mounted(clean, name, tmp_path / "mounted") as at:
        changed = {key: value for key, value in KEPT.items() if key != "security.capability"}
        assert noted(at) == {"d": DIRECTORYS, "d/f": changed}, "who writes to a file takes its capabilities, as ever"
        assert tree(at / "copied", root=True)["f"]["xattrs"] == KEPT
        assert (at / "copied/f").stat().st_mtime_ns == 1_600_000_000_123_456_789
        assert tree(at / "plain")["f"]["xattrs"].keys() <= {"system.posix_acl_access"}, "at most what it inherits"
    clean.pyproc("delete", "-v", "c", "b")
    clean.pyproc("volume prune", "-a")
    clean.pyproc("rmi", name, "it")


FIRST = 200000
MAP = [{"containerID": 0, "hostID": FIRST, "size": 1000}]


def test_copies_in_a_user_namespace(runtime: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Owners go in and out by the ids they have inside; others are refused, ACLs (of host ids) left out."""
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = MAP
    subprocess.run(["chown", "-R", f"{FIRST}:{FIRST}", bundle.root], check=True)
    bundle.run("sleep 1000")
    assert runtime.quietly("run", "-d", "--bundle", str(bundle.write()), "c") == 0
    until(runtime, "c", "running")
    note(tmp_path / "in")
    os.chown(tmp_path / "in/d/f", 7, 8)
    runtime("cp", "-a", str(tmp_path / "in/d"), "c:/tmp/kept")
    runtime("cp", str(tmp_path / "in/d"), "c:/tmp/roots")
    assert runtime("exec", "c", "stat", "-c", "%u:%g", "/tmp/kept/f", "/tmp/roots/f").stdout.split() == ["7:8", "0:0"]
    found = tree(bundle.root / "tmp")
    assert [found[name]["owner"] for name in ("kept/f", "roots/f")] == [(FIRST + 7, FIRST + 8), (FIRST, FIRST)]
    assert found["kept/f"]["xattrs"] == {"user.note": KEPT["user.note"]}
    os.chown(bundle.root / "tmp/roots/f", 5, 5)  # nobody's inside
    (tmp_path / "out").mkdir()
    runtime("cp", "-a", "c:/tmp/.", str(tmp_path / "out"))
    found = tree(tmp_path / "out")
    assert [found[name]["owner"] for name in ("kept/f", "roots/f")] == [(7, 8), (65534, 65534)]
    with (tmp_path / "stream").open("wb") as out:
        subprocess.run([*runtime.command, "cp", "c:/tmp/kept", "-"], check=True, stdout=out, env=runtime.environment)
    with tarfile.open(tmp_path / "stream") as stream:
        assert [(each.name, each.uid, each.gid) for each in stream] == [("kept", 0, 0), ("kept/f", 7, 8)]
    data = tar(member("one", uid=9, gid=10), member("far/off", uid=11, gid=12), member("none", uid=1000))
    for options, owners in (((), [0, 0]), (("-a",), [9, 11])):
        given = subprocess.run([*runtime.command, "cp", *options, "-", "c:/tmp"], input=data, capture_output=True,
                               check=False, env=runtime.environment)  # fmt: skip
        assert [(bundle.root / "tmp" / name).stat().st_uid - FIRST for name in ("one", "far/off")] == owners
        assert (bundle.root / "tmp/far").stat().st_uid == FIRST
        if options:
            assert given.returncode == 1
            assert b"'none': owned by 1000:0, which the container's user namespace has not; leave" in given.stderr
        else:
            assert given.returncode == 0, given.stderr

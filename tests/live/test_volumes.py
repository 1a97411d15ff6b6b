"""Volumes: what is in them at first and afterwards, who has them, and that they stay where they belong."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.images import resolve
from tests.images import docker_archive, member, tar, tree
from tests.live.test_images import CAPABILITY
from tests.live.test_run_image import BASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

XATTRS = {
    "SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape"),
    "SCHILY.xattr.user.a": "b",
}
FILLED = tar(
    member("kept", "dir", mode=0o2750, uid=1000, gid=100, mtime=1_000_000_000),
    member("kept/deep", "dir", mode=0o1777, mtime=1_000_000_001),
    member("kept/deep/file", data=b"x" * 3000, mode=0o4755, uid=7, gid=8, mtime=1_000_000_002),
    member("kept/again", "hardlink", linkname="kept/deep/file", mode=0o4755, uid=7, gid=8, mtime=1_000_000_002),
    member("kept/capable", data=b"c", pax_headers=XATTRS),
    member("kept/link", "symlink", linkname="../../../etc/passwd", uid=5),
    member("kept/fifo", "fifo", mode=0o622),
    member("kept/null", "char", devmajor=1, devminor=3, mode=0o666),
    *(member(f"many/{number}", data=b"y" * 100) for number in range(300)),
    member("out", "symlink", linkname="../../../../../../../../../tmp/escaped"),
    member("loop", "symlink", linkname="loop"),
    member("var", "dir"),
    member("var/run", "symlink", linkname="../run"),
)
SAYS = {"Cmd": ["/bin/ls", "/kept"], "Env": ["PATH=/bin"], "Volumes": {"/kept": {}, "/log": {}}}


@pytest.fixture(scope="module")
def it(box: Box) -> str:
    """Import an image with volumes and return its name."""
    (box.base / "it.tar").write_bytes(docker_archive([BASE, FILLED], "it:latest", **SAYS))
    box.pyproc("import", str(box.base / "it.tar"))
    return "it"


@pytest.fixture
def there(clean: Box, it: str) -> Iterator[Box]:
    """Yield the box, and remove what volumes a test has left."""
    yield clean
    clean.pyproc("volume prune", "-a")
    assert names(clean) == []


def names(box: Box) -> list[str]:
    """Return the volumes there are."""
    return box.pyproc("volume ls", "-q").stdout.split()


def where(box: Box, name: str) -> Path:
    """Return where a volume's data are."""
    return box.base / "storage/volumes" / name / "_data"


def test_first_use(there: Box) -> None:
    """An empty volume gets what the image has at its place, with all attributes, once; what changes there stays."""
    options = ("--rm", "--image", "it", "-v", "v:/kept", "--")
    assert there.run(*options, "/bin/ls", "/kept").stdout.split() == [
        "again",
        "capable",
        "deep",
        "fifo",
        "link",
        "null",
    ]
    layer = resolve.resolve(str(there.base / "storage"), "it").lowers[0]
    assert tree(where(there, "v"), root=True) == tree(f"{layer}/kept", root=True)
    there.run(*options, "/bin/sh", "-c", "cd /kept; echo new > mine; busybox rm -r deep again capable fifo link null")
    assert there.run(*options, "/bin/ls", "/kept").stdout == "mine\n"
    assert tree(f"{layer}/kept")["deep/file"]["owner"] == (7, 8)
    assert sorted(os.listdir(there.base / "storage/volumes/v")) == ["_data", "volume.json"]


def test_nothing_is_copied(there: Box, tmp_path: Path) -> None:
    """Not with nocopy, not into directories of the host, and not over what is there already."""
    (tmp_path / "host").mkdir()
    there.pyproc("volume create", "full")
    (where(there, "full") / "mine").touch()
    for option in (f"{tmp_path}/host:/kept", "empty:/kept:nocopy"):
        assert there.run("--rm", "--image", "it", "-v", option).stdout == ""
    assert there.run("--rm", "--image", "it", "-v", "full:/kept").stdout == "mine\n"
    assert os.listdir(tmp_path / "host") == os.listdir(where(there, "empty")) == []


def test_kinds_of_mounts(there: Box, tmp_path: Path) -> None:
    """--mount's binds, volumes and tmpfses are what they say, and read-only is."""
    (tmp_path / "a,b").mkdir()
    (tmp_path / "a,b/f").write_text("host\n")
    mounts = (
        f'type=bind,"src={tmp_path}/a,b",dst=/bound,ro',
        "type=volume,src=v,dst=/kept,readonly,volume-label=a=1",
        "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1700",
    )
    script = "cat /bound/f; echo > /bound/x; echo > /kept/x; ls /kept; stat -c %a /t; grep ' /t ' /proc/mounts"
    options = [word for mount in mounts for word in ("--mount", mount)]
    done = there.run("--rm", "--image", "it", *options, "--", "/bin/sh", "-c", script)
    host, *listed, mode, line = done.stdout.splitlines()
    assert (host, "deep" in listed, "x" in listed, mode) == ("host", True, False, "1700")
    assert "size=1024k" in line and "noexec" in line
    assert done.stderr.count("Read-only file system") == 2
    (about,) = json.loads(there.pyproc("volume inspect", "v").stdout)
    assert (about["labels"], about["used_by"], about["mountpoint"]) == ({"a": "1"}, [], str(where(there, "v")))


def test_anonymous_ones(there: Box) -> None:
    """-v /DST and an image's VOLUMEs have volumes of their own, which go by --rm and rm -v alone."""
    assert there.run("--rm", "--image", "it", "-v", "/own").stdout and names(there) == []
    for flags, left in (((), 3), (("-v",), 0)):
        name = there.start("--image", "it", "-v", "/own", "--", "/bin/busybox", "sleep", "1000")
        assert len(names(there)) == 3
        assert there.pyproc("exec", name, "/bin/ls", "/kept").stdout.split()[:2] == ["again", "capable"]
        there.pyproc("delete", "--force", *flags, name)
        assert len(names(there)) == left
        assert len(there.pyproc("volume prune").stdout.split()) == left
    there.run("--rm", "--image", "it", "-v", "named:/log")
    assert names(there) == ["named"]


def test_in_use(there: Box) -> None:
    """A volume is not removed as long as a container has it, running or not, and the error names that."""
    there.run("--image", "it", "--name", "user", "-v", "v:/kept")
    done = there.pyproc("volume rm", "v", check=False)
    why = "pyproc: volume 'v' is in use by user; remove the container first: pyproc rm user\n"
    assert (done.returncode, done.stderr) == (1, why)
    assert "v" not in there.pyproc("volume prune", "-a").stdout.split()
    assert json.loads(there.pyproc("volume inspect", "v").stdout)[0]["used_by"] == ["user"]
    there.pyproc("delete", "user")
    assert there.pyproc("volume rm", "v").stdout == "v\n"


def test_nothing_shows_on_the_host(there: Box) -> None:
    """No mount of a volume, nor of the container's root, is in the host's mount namespace."""
    before = Path("/proc/self/mountinfo").read_text()
    name = there.start("--image", "it", "-v", "v:/kept", "--", "/bin/busybox", "sleep", "1000")
    assert "/kept" in there.pyproc("exec", name, "/bin/cat", "/proc/self/mountinfo").stdout
    new = set(Path("/proc/self/mountinfo").read_text().splitlines()) - set(before.splitlines())
    assert not [line for line in new if str(there.base) in line]
    there.pyproc("delete", "--force", "-v", name)


def test_first_used_by_several_at_once(there: Box) -> None:
    """Each of them sees all of what the image has, however the copying falls."""
    command = there.command(
        "--rm", "--image", "it", "-v", "v:/many", "--", "/bin/sh", "-c", "ls /many | busybox wc -l"
    )
    running = [
        subprocess.Popen(command, env=there.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [(process.communicate()[0].strip(), process.returncode) for process in running] == [("300", 0)] * 4


@pytest.mark.parametrize("state", ["half", "whole"])
def test_first_use_that_was_cut_off(there: Box, state: str) -> None:
    """Half a copy is made anew, a whole one is put into place; what a container has put there meanwhile stays."""
    there.pyproc("volume create", "v")
    left = there.base / "storage/volumes/v" / state
    left.mkdir()
    (left / "only").touch()
    if state == "whole":
        (where(there, "v") / "0").write_text("mine")
        (left / "0").write_text("the image's")
    there.run("--rm", "--image", "it", "-v", "v:/many", "--", "/bin/ls", "/many")
    found = tree(where(there, "v"))
    assert len(found) == (300 if state == "half" else 2) and ("only" in found) == (state == "whole")
    assert state == "half" or (where(there, "v") / "0").read_text() == "mine"
    assert not left.exists()


def test_links_of_the_image(there: Box, tmp_path: Path) -> None:
    """A link in a volume's place ends inside the root; one that leads nowhere is an error, and nothing is left."""
    script = ("--", "/bin/sh", "-c", "echo x > /var/run/sub/f; ls /run/sub; echo y > /out/f; ls /tmp/escaped")
    done = there.run("--rm", "--image", "it", "-v", "a:/var/run/sub", "-v", "b:/out", *script)
    assert done.stdout == "f\nf\n"
    assert not Path("/tmp/escaped").exists()
    assert (where(there, "a") / "f").read_text() == "x\n" and (where(there, "b") / "f").read_text() == "y\n"
    done = there.run("--rm", "--image", "it", "-v", "/loop/x", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (125, 1), done.stderr
    assert names(there) == ["a", "b"]


def test_a_start_that_fails(there: Box) -> None:
    """Of a container that could not be started no anonymous volume is left; one with a name stays, as data do."""
    done = there.run("--image", "it", "-v", "/own", "-v", "v:/x", "--", "/nosuch", check=False)
    assert done.returncode == 127
    assert names(there) == ["v"]


def test_the_host_as_image(there: Box) -> None:
    """Without an image, too, a volume begins with what is at its place, and stays."""
    there.run(
        "--rm", "-v", "v:/etc/default", "-v", "w:/data", "--", "sh", "-c", "echo x > /data/f; rm /etc/default/*"
    )
    assert there.run("--rm", "-v", "w:/data", "--", "cat", "/data/f").stdout == "x\n"
    assert os.listdir(where(there, "v")) == []
    assert Path("/etc/default").stat().st_mode == where(there, "v").stat().st_mode
    assert os.listdir("/etc/default")


def test_a_part_of_a_volume(there: Box) -> None:
    """A subpath is shown alone, also a file; links end inside of the volume."""
    script = (
        "/bin/busybox mkdir -p /v/a/b /v/etc; echo deep > /v/a/b/f; echo mine > /v/etc/hostname;"
        " /bin/busybox ln -s /etc /v/out; /bin/busybox ln -s ../../../../etc /v/a/up"
    )
    there.run("--rm", "--image", "it", "-v", "v:/v", "--", "/bin/sh", "-c", script)

    def shown(path: str, words: str, check: bool = True) -> tuple[str, str]:
        mount = f"type=volume,source=v,target=/m,volume-subpath={path}"
        done = there.run("--rm", "--image", "it", "--mount", mount, "--", "/bin/sh", "-c", words, check=check)
        return done.stdout, done.stderr

    assert shown("a/b", "cat /m/f; echo new > /m/g; ls /m")[0].split() == ["deep", "f", "g"]
    assert shown("a/b/f", "cat /m")[0] == "deep\n"
    for link in ("out", "a/up"):  # they are the volume's own /etc, whatever a container meant
        assert shown(link, "cat /m/hostname")[0] == "mine\n"
    assert "no 'none' in it; make it first" in shown("none", "true", check=False)[1]
    assert (where(there, "v") / "a/b/g").read_text() == "new\n"

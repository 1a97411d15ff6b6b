"""What a container has changed, and the images that are made of it: read here, by Podman and by skopeo."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.images import resolve
from tests.images import docker_archive, member, tar, tree
from tests.live.apart import Apart
from tests.live.box import BIN
from tests.live.test_images import do, images, layers, podman, store
from tests.live.test_run_image import BASE, archive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

DATA = tar(
    *(member(f"d/{name}", data=name.encode()) for name in ("kept", "changed", "gone")),
    member("d/sub/inner", data=b"i"),
    member("anew/old", data=b"o"),
    member("modes", "dir", mode=0o711, uid=3, gid=4, mtime=1_000_000_000),
)
SCRIPT = """
cd /d; echo more >> changed; busybox rm gone; busybox rm -r sub; echo n > new; busybox ln -s new link
busybox rm -r /anew; busybox mkdir /anew; echo x > /anew/x
echo v > /vol/v; echo h > /bound/h; echo e >> /etc/hosts; echo t > /t/t
busybox chown 12:34 new; busybox chmod 4750 new; busybox mkfifo pipe; busybox mkdir -m 1777 deep
"""
CHANGED = """A /anew/x
C /anew
C /d
C /d/changed
A /d/deep
D /d/gone
A /d/link
A /d/new
A /d/pipe
D /d/sub
D /anew/old
"""


@pytest.fixture(scope="module")
def it(box: Box) -> str:
    """Import an image and return its name."""
    data = archive("it:latest", DATA, Entrypoint=None, User="", Cmd=["/bin/sh"], WorkingDir="/made/here")
    (box.base / "it.tar").write_bytes(data)
    box.pyproc("import", str(box.base / "it.tar"))
    return "it"


@pytest.fixture
def changed(clean: Box, it: str, tmp_path: Path) -> Iterator[str]:
    """Yield a container that has changed much, and ended."""
    options = ("-v", "v:/vol", "-v", f"{tmp_path}:/bound", "--tmpfs", "/t", "-v", f"{tmp_path}:/not/there/yet")
    clean.run("--image", it, "--name", "changed", *options, "-e", "A=1", "--", "/bin/sh", "-c", SCRIPT)
    yield "changed"
    clean.pyproc("delete", "changed")
    clean.pyproc("volume prune", "-a")


def test_at_first_nothing_is_changed(clean: Box, it: str, tmp_path: Path) -> None:
    """What the runtime makes for a container (files, places of mounts, the working directory) is no change of it."""
    (tmp_path / "file").touch()
    mounts = ("-v", "v:/vol/deep", "-v", f"{tmp_path}/file:/x/y/file", "--tmpfs", "/var/run/t", "-v", "/anonymous")
    name = clean.start("--image", it, *mounts, "-w", "/made/up", "--", "/bin/busybox", "sleep", "1000")
    assert clean.pyproc("diff", name).stdout == ""
    listed = clean.pyproc("exec", name, "/bin/ls", "/made", "/vol", "/x/y").stdout.split()
    assert listed == ["/made:", "up", "/vol:", "deep", "/x/y:", "file"]
    clean.pyproc("commit", name, "same")
    assert tree(resolve.resolve(str(clean.base / "storage"), "same").lowers[0]) == {}
    name_ = clean.start("--", "sleep", "1000")
    assert clean.pyproc("diff", name_).stdout == ""
    clean.pyproc("delete", "--force", "-v", name, name_)
    clean.pyproc("rmi", "same")


def test_the_root_looks_as_in_the_image(clean: Box, it: str) -> None:
    """A directory that a place for a mount was made in has the owner, mode and time it has in the image."""
    script = "stat -c '%n %a %u %g %Y' / /modes"
    plain = clean.run("--rm", "--image", it, "--", "/bin/sh", "-c", script).stdout
    assert clean.run("--rm", "--image", it, "-v", "/modes/m", "--", "/bin/sh", "-c", script).stdout == plain
    assert "/modes 711 3 4 1000000000" in plain


def test_diff(clean: Box, changed: str) -> None:
    """Added, changed and deleted paths, as Docker tells them; nothing of volumes, binds and our own files."""
    done = clean.pyproc("diff", changed)
    assert sorted(done.stdout.splitlines()) == sorted(CHANGED.splitlines())
    paths = [line[2:] for line in done.stdout.splitlines()]
    assert paths == sorted(paths)
    found = json.loads(clean.pyproc("diff", "--json", changed).stdout)
    assert [f"{item['kind']} {item['path']}" for item in found] == done.stdout.splitlines()


def test_diff_without_an_image(clean: Box) -> None:
    """Of a container on the host's files what it has changed is told, too; it can't be committed."""
    script = "echo x > /etc/new; rm /etc/passwd; echo x > /tmp/t; mkdir /usr/share/mine; exit 7"
    clean.run("--name", "plain", "-v", "/place", "--", "sh", "-c", script, check=False)
    told = clean.pyproc("diff", "plain").stdout.splitlines()
    etc, usr = ["C /etc", "A /etc/new", "D /etc/passwd"], ["C /usr", "C /usr/share", "A /usr/share/mine"]
    assert told == [*etc, "C /tmp", "A /tmp/t", *usr]
    done = clean.pyproc("commit", "plain", "x", check=False)
    assert (done.returncode, "has no image" in done.stderr, done.stderr.count("\n")) == (1, True, 1)
    clean.pyproc("delete", "-v", "plain")


def test_commit(clean: Box, it: str, changed: str) -> None:
    """The image has what the container had, less its volumes and binds; layers below are the base's own."""
    options = ("-a", "me", "-m", "why", "-c", 'CMD ["/bin/cat", "/d/changed", "/anew/x"]', "-c", "LABEL a=1")
    id_ = clean.pyproc("commit", *options, changed, "h.io/new:1").stdout.strip()
    base, new = (resolve.resolve(str(clean.base / "storage"), name) for name in (it, "h.io/new:1"))
    assert (new.id, new.chains[:-1]) == (id_, base.chains)
    assert clean.run("--rm", "--image", "h.io/new:1").stdout == "changedmore\nx\n"
    script = (
        "ls /d /anew /vol /bound /not /t; stat -c '%a %u %g' /d/new; echo $A $PWD; cat /etc/hosts | grep -c '^e$'"
    )
    done = clean.run("--rm", "--image", "h.io/new:1", "--", "/bin/sh", "-c", script, check=False)
    assert done.stdout.splitlines() == [
        "/anew:", "x", "", "/d:", "changed", "deep", "kept", "link", "new", "pipe", "4750 12 34", "1 /made/here", "0",
    ]  # fmt: skip
    config = json.loads(store(clean).read(f"sha256:{id_}"))
    last = config["history"][-1]
    assert (config["author"], last["comment"], last["author"], "created_by" in last) == ("me", "why", "me", True)
    assert config["config"]["Labels"] == {"a": "1"} and "TERM=xterm" not in config["config"]["Env"]
    assert len(config["rootfs"]["diff_ids"]) == len([h for h in config["history"] if not h.get("empty_layer")]) == 4
    table = clean.pyproc("history", "h.io/new:1").stdout.splitlines()
    assert len(table) == 5 and table[1].endswith("why") and "/bin/sh -c" in table[1]
    clean.pyproc("rmi", "h.io/new:1")
    assert len(layers(clean)) == len(base.chains)


def test_others_read_it(clean: Box, changed: str, tmp_path: Path) -> None:
    """skopeo and Podman read a committed image, and find the tree that we find, and the same id."""
    id_ = clean.pyproc("commit", changed, "h.io/new:1").stdout.strip()
    for form in ("oci-archive", "docker-archive"):
        path = tmp_path / form
        clean.pyproc("export", "--format", form, "h.io/new:1", "-o", str(path))
        assert len(json.loads(do("skopeo", "inspect", f"{form}:{path}"))["Layers"]) == 4
        with podman(path, "h.io/new:1") as at:
            theirs = tree(at, leave_out=["mtime_ns"])
        clean.pyproc("rmi", "h.io/new:1")
        again = clean.pyproc("import", str(path)).stdout.strip()
        assert again == id_
    # Podman shows what whiteouts hide as gone, and what we wrote as it is
    assert {"d/new", "anew/x", "d/pipe"} <= theirs.keys() and not {"d/gone", "d/sub", "anew/old"} & theirs.keys()
    assert (theirs["d/new"]["owner"], theirs["d/new"]["mode"]) == ((12, 34), "0o104750")
    clean.pyproc("rmi", "h.io/new:1")


def test_changes_in_memory(tmp_path: Path, time_scale: float) -> None:
    """Where the storage can't carry an upper layer a container works all the same, and diff says why it can't."""
    box = Apart(tmp_path, time_scale)
    try:
        for name in ("lower", "upper", "work", "storage"):
            (tmp_path / name).mkdir()
        layers = ",".join(f"{name}dir={tmp_path}/{name}" for name in ("lower", "upper", "work"))
        box.do("mount", "-t", "overlay", "overlay", "-o", layers, tmp_path / "storage")
        script = "echo x > /data/f; ls -d /new/place; cat /etc/hostname; touch /usr/f /f"
        mounts = ("-v", "v:/data", "-v", "/new/place")
        done = box.run("--proc-view", "off", "--name", "memory", *mounts, "--", "sh", "-c", script)
        assert (done.stdout, "a tmpfs does" in done.stderr) == ("/new/place\nmemory\n", True)
        for verb in ("diff", "commit"):
            told = box.pyproc(verb, "memory", check=False)
            assert (told.returncode, told.stderr.count("\n")) == (1, 1), told.stderr
        assert "in memory" in box.pyproc("diff", "memory", check=False).stderr
        assert (tmp_path / "upper/volumes/v/_data/f").read_text() == "x\n"
        box.pyproc("delete", "-v", "memory")
        assert box.pyproc("volume ls", "-q").stdout == "v\n"
    finally:
        box.close()


def test_names(clean: Box, it: str, changed: str) -> None:
    """Without a name the image has none; tag gives more, to which whoever had them loses them."""
    id_ = clean.pyproc("commit", changed).stdout.strip()
    assert {name for name, image in images(clean).items() if image == id_} == {""}
    clean.pyproc("tag", id_[:12], "one", "h.io/two:2")
    assert {name for name, image in images(clean).items() if image == id_} == {
        "docker.io/library/one:latest", "h.io/two:2",
    }  # fmt: skip
    clean.pyproc("tag", it, "h.io/two:2")
    assert images(clean)["h.io/two:2"] == images(clean)["docker.io/library/it:latest"]
    for wrong in (("tag", "one", f"x@sha256:{'0' * 64}"), ("tag", "none", "x"), ("commit", changed, "Bad:Name:x")):
        done = clean.pyproc(*wrong, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (125, 1), done.stderr
    clean.pyproc("rmi", "-f", "one", "h.io/two:2")
    clean.pyproc("prune")


def test_it_stands_still(clean: Box, it: str) -> None:
    """Meanwhile the container's processes do nothing, so that what is committed fits together; then they go on."""
    script = "n=0; while :; do n=$((n+1)); echo $n > /a; echo $n > /b; done"
    clean.start("--image", it, "--name", "busy", "--", "/bin/sh", "-c", script)
    at = clean.base / "storage/containers/busy/upper/root"
    wait(clean, lambda: (at / "b").exists())
    for _ in range(3):
        clean.pyproc("commit", "busy", "snapshot")
        upper = Path(resolve.resolve(str(clean.base / "storage"), "snapshot").lowers[0])
        first, second = (int((upper / name).read_text() or "-1") for name in "ab")
        assert -1 in (first, second) or first - second in (0, 1)
    before = (at / "a").read_text()
    wait(clean, lambda: (at / "a").read_text() not in ("", before))
    clean.pyproc("pause", "busy")
    clean.pyproc("commit", "busy", "snapshot")
    assert '"paused"' in clean.pyproc("state", "busy").stdout, "it was paused before, and is not ours to wake"
    clean.pyproc("delete", "--force", "busy")
    clean.pyproc("rmi", "snapshot")
    clean.pyproc("prune")


def wait(box: Box, true: object) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + 60 * box.scale
    assert callable(true)
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_commit_that_is_killed(clean: Box, it: str) -> None:
    """Whoever is killed while a container stands still leaves it running, and no image."""
    script = "busybox truncate -s 1G /large; n=0; while :; do n=$((n+1)); echo $n > /now; done"
    clean.start("--image", it, "--name", "busy", "--", "/bin/sh", "-c", script)
    at = clean.base / "storage/containers/busy/upper/root"
    wait(clean, lambda: (at / "now").exists())
    before = images(clean)
    process = subprocess.Popen([BIN / "pyproc", "commit", *clean.places, "busy", "x"], stderr=subprocess.DEVNULL)
    wait(clean, lambda: '"paused"' in clean.pyproc("state", "busy").stdout or process.poll() is not None)
    assert process.poll() is None
    process.kill()
    process.wait()
    wait(clean, lambda: '"running"' in clean.pyproc("state", "busy").stdout)
    stale = (at / "now").read_text()
    wait(clean, lambda: (at / "now").read_text() not in ("", stale))
    assert images(clean) == before
    clean.pyproc("delete", "--force", "busy")
    clean.pyproc("prune")
    assert os.listdir(store(clean).incoming) == []


def test_the_image_is_gone(clean: Box, it: str) -> None:
    """A container whose image was removed by force can't be committed, and says so."""
    (clean.base / "other.tar").write_bytes(docker_archive([BASE, tar(member("own"))], "other", Cmd=["/bin/ls"]))
    clean.pyproc("import", str(clean.base / "other.tar"))
    clean.run("--image", "other", "--name", "left")
    clean.pyproc("rmi", "-f", "other")
    done = clean.pyproc("commit", "left", "x", check=False)
    assert (done.returncode, "it was removed" in done.stderr, done.stderr.count("\n")) == (1, True, 1), done.stderr
    clean.pyproc("delete", "left")
    clean.pyproc("prune")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("FROM x", "'FROM' can't be changed"),
        ("CMD", "nothing is said"),
        ("ENV A=1 B", "'B' is not NAME=VALUE"),
        ("EXPOSE http", "'http' is not a port"),
    ],
)
def test_wrong_changes(clean: Box, changed: str, line: str, why: str) -> None:
    """A line that can't be understood ends it before anything is done."""
    done = clean.pyproc("commit", "-c", line, changed, "x", check=False)
    assert (done.returncode, why in done.stderr, done.stderr.count("\n")) == (125, True, 1), done.stderr
    assert not re.search("^docker.io/library/x", "\n".join(images(clean)))

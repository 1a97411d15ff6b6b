"""Images on the disk: attributes, layers, formats, and what happens to who is killed or comes at the same time."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime.images import resolve
from runtime.images.store import Store
from tests.images import docker_archive, member, oci_directory, tar, tree
from tests.live.box import BIN, Box

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""security.capability of cap_net_raw+ep: vfs_cap_data, include/uapi/linux/capability.h."""


def do(*words: str | Path, **options: Any) -> str:
    """Run a program and return its output."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=240, **options)
    assert done.returncode == 0, (words, done.stderr)
    return str(done.stdout)


@contextmanager
def mounted(box: Box, image: str, at: Path) -> Iterator[Path]:
    """Mount what an image's layers show."""
    at.mkdir()
    (at.parent / f"{at.name}.empty").mkdir()
    found = resolve.resolve(str(box.base / "storage"), image)
    lowers = ":".join((*found.lowers, f"{at}.empty"))  # one alone is no overlay
    do("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lowers}", at)
    try:
        yield at
    finally:
        do("umount", at)


def store(box: Box) -> Store:
    """Return the box's store."""
    return Store(str(box.base / "storage"))


@contextmanager
def podman(archive: Path, image: str) -> Iterator[Path]:
    """Load an archive with Podman, and mount the image as it makes it."""
    with tempfile.TemporaryDirectory() as base:  # it takes no path of more than 50 bytes
        command = ("podman", "--root", f"{base}/root", "--runroot", f"{base}/run", "--storage-driver=vfs")
        do(*command, "load", "-q", "-i", archive)
        try:
            yield Path(do(*command, "image", "mount", image).strip())
        finally:
            do(*command, "image", "umount", "-a")


def layers(box: Box) -> list[str]:
    """Return the names in the directory of layers."""
    return sorted(os.listdir(store(box).layers))


def put(box: Box, name: str, data: bytes) -> str:
    """Write a file and return its path."""
    (box.base / name).write_bytes(data)
    return str(box.base / name)


def images(box: Box) -> dict[str, str]:
    """Return names and ids of the images."""
    return {found["name"]: found["id"] for found in json.loads(box.pyproc("images", "--json").stdout)}


def test_attributes(own: Box, tmp_path: Path) -> None:
    """Owners, modes, times, devices, capabilities, links and holes are what GNU tar makes of the archive."""
    top = tmp_path / "in"
    (top / "d/deep").mkdir(parents=True)
    (top / "d/file").write_bytes(b"x" * 5000)
    os.link(top / "d/file", top / "d/other")
    os.symlink("../nowhere", top / "d/link")
    os.mkfifo(top / "fifo", 0o622)
    os.mknod(top / "null", 0o020666, os.makedev(1, 3))
    os.mknod(top / "disk", 0o060660, os.makedev(250, 300))
    with (top / "sparse").open("wb") as file:
        file.truncate(5 << 20)
    os.chown(top / "d/file", 1000, 4_000_000_000)
    os.chown(top / "d/link", 7, 8, follow_symlinks=False)
    os.chmod(top / "d/file", 0o6711)
    os.chmod(top / "d/deep", 0o1777)
    (top / "cap").write_bytes(b"c")
    os.setxattr(top / "cap", "security.capability", CAPABILITY)
    os.setxattr(top / "d", "trusted.note", b"\0\xff=\n")
    for number, path in enumerate(("d/file", "d/deep", "d", "fifo", "sparse")):
        os.utime(top / path, ns=(0, 1_600_000_000_123_456_789 + number))
    archive = tmp_path / "root.tar"
    do("tar", "--xattrs", "--xattrs-include=*", "--format=pax", "-C", top, "-cSf", archive, ".")
    (tmp_path / "out").mkdir()
    do("tar", "--xattrs", "--xattrs-include=*", "-C", tmp_path / "out", "-xpSf", archive)
    own.pyproc("import", str(archive), "it")
    (lower,) = resolve.resolve(str(own.base / "storage"), "it").lowers
    assert tree(lower, root=True) == tree(tmp_path / "out", root=True)
    assert tree(lower)["cap"]["xattrs"] == {"security.capability": CAPABILITY}
    assert os.stat(f"{lower}/sparse").st_blocks == 0


def test_only_root_may_look_in(own: Box) -> None:
    """Setuid programs and devices of images are out of other users' reach."""
    own.pyproc("import", put(own, "t", tar(member("null", "char", devmajor=1, devminor=3, mode=0o666))), "it")
    (lower,) = resolve.resolve(str(own.base / "storage"), "it").lowers
    assert os.stat(f"{lower}/null").st_rdev == os.makedev(1, 3)
    done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "cat", f"{lower}/null"], capture_output=True)
    assert b"Permission denied" in done.stderr


BASE = tar(
    *(member(name, "dir", mode=0o711) for name in ("a", "a/sub", "b", "c", "e")),
    *(member(name, data=name.encode()) for name in ("a/x", "a/y", "a/sub/z", "b/x", "c/x", "e/x", "f", "g")),
    member("h", "symlink", linkname="a"),
)
IN_A = {"-a/x", "-a/y", "-a/sub", "-a/sub/z"}
WHITEOUTS = {
    "a file": ((member(".wh.f"),), {"-f"}),
    "a directory": ((member("a", "dir"), member(".wh.b")), {"-b", "-b/x"}),
    "in a directory without an entry": ((member("a/.wh.x"),), {"-a/x"}),
    "a link, not what it leads to": ((member(".wh.h"),), {"-h"}),
    "what is not there": ((member(".wh.nothing"), member("a/none/.wh.x")), set()),
    "opaque": ((member("a", "dir"), member("a/new"), member("a/.wh..wh..opq")), {*IN_A, "+a/new"}),
    "opaque, with a whiteout in it": ((member("a/.wh.x"), member("a/.wh..wh..opq")), IN_A),
    "below an opaque one": ((member("a/.wh..wh..opq"), member("a/sub/.wh.z"), member("a/sub/n")),
                            {"-a/x", "-a/y", "-a/sub/z", "+a/sub/n"}),
    "deleted and made anew": ((member(".wh.a"), member("a", "dir"), member("a/n")),
                              {*IN_A, "+a/n"}),
    "made anew and deleted": ((member("a", "dir"), member("a/n"), member(".wh.a")),
                              {*IN_A, "+a/n"}),
    "deleted, with something in it": ((member(".wh.a"), member("a/n")), {*IN_A, "+a/n"}),
    "a file of this layer stays": ((member("f", data=b"mine"), member(".wh.f")), set()),
    "a file in place of a directory": ((member("a"),), IN_A),
    "a directory in place of a file": ((member("f", "dir"), member("f/n")), {"+f/n"}),
    "all": ((member(".wh..wh..opq"), member("n")),
            {"+n", *IN_A, "-a", "-b", "-b/x", "-c", "-c/x", "-e", "-e/x", "-f", "-g", "-h"}),
}  # fmt: skip
"""What a layer holds, and the paths that it takes from what the one below shows, or adds."""


@pytest.mark.parametrize("name", WHITEOUTS)
def test_whiteouts(own: Box, tmp_path: Path, name: str) -> None:
    """What shows through overlayfs is what the image specification says, and nothing is listed that isn't there."""
    members, expected = WHITEOUTS[name]
    own.pyproc("import", put(own, "base", docker_archive([BASE], "base")))
    own.pyproc("import", put(own, "it", docker_archive([BASE, tar(*members)], "it")))
    with mounted(own, "base", tmp_path / "1") as base, mounted(own, "it", tmp_path / "2") as top:
        before, after = set(tree(base)), set(tree(top))
    assert {f"-{path}" for path in before - after} | {f"+{path}" for path in after - before} == expected


def test_the_same_as_umoci(own: Box, tmp_path: Path) -> None:
    """An image of several layers shows the very tree that umoci makes of it, attributes and times included."""
    top = tar(
        member("a", "dir", mode=0o700, mtime=5), member("a/.wh.x"),
        member("a/n", data=b"new", uid=5, gid=6, mode=0o4755),
        member("b", "dir", mtime=6), member("b/.wh..wh..opq"), member("b/o", mtime=9),
        member("c/x", data=b"changed"), member("k", "hardlink", linkname="a/n"), member(".wh.f"),
    )  # fmt: skip
    third = tar(member(".wh.c"), member("l", "symlink", linkname="/a", uid=9), member("b/o", data=b"newer"))
    own.pyproc("import", put(own, "it.tar", docker_archive([BASE, top, third], "it")))
    do("skopeo", "copy", f"docker-archive:{own.base}/it.tar", f"oci:{tmp_path}/oci:t")
    do("umoci", "unpack", "--image", f"{tmp_path}/oci:t", tmp_path / "umoci")
    with mounted(own, "it", tmp_path / "ours") as ours:
        assert tree(ours) == tree(tmp_path / "umoci/rootfs")


def test_formats(own: Box, tmp_path: Path) -> None:
    """The same layers are the same, whatever they come in: archives, compressed or not, directories, a pipe."""
    layer = tar(member("bin", "dir"), member("bin/x", data=b"x"))
    archive = docker_archive([BASE, layer, layer], "one:1", "two:2", Env=["A=1"])
    (plain,) = own.pyproc("import", put(own, "d.tar", archive)).stdout.split()
    assert images(own) == {"docker.io/library/one:1": plain, "docker.io/library/two:2": plain}
    there = layers(own)
    compressed = put(own, "d.tar.gz", gzip.compress(archive))
    assert own.pyproc("import", compressed, "three").stdout.split() == [plain]
    for kind, where in (("oci", tmp_path / "oci:four"), ("oci-archive", tmp_path / "o.tar:docker.io/library/five:5")):
        do("skopeo", "copy", f"docker-archive:{own.base}/d.tar:one:1", f"{kind}:{where}")
    (converted,) = own.pyproc("import", str(tmp_path / "oci")).stdout.split()  # skopeo writes its own configuration
    with (tmp_path / "o.tar").open("rb") as file:
        done = subprocess.run(
            [BIN / "pyproc", "import", *own.places, "-"], stdin=file, capture_output=True, text=True
        )
    assert done.stdout.split() == [converted], done.stderr
    assert set(images(own)) >= {"localhost/oci:four", "docker.io/library/five:5", "docker.io/library/three:latest"}
    assert layers(own) == there
    for program, data in (
        ("gzip", gzip.compress(BASE)),
        ("xz", do_bytes("xz", BASE)),
        ("zstd", do_bytes("zstd", BASE)),
    ):
        own.pyproc("import", put(own, f"root.{program}", data), program)
    lowers = {resolve.resolve(str(own.base / "storage"), name).lowers for name in ("gzip", "xz", "zstd")}
    assert len(lowers) == 1
    assert next(iter(lowers))[0].split("/")[-2] in there


def do_bytes(program: str, data: bytes) -> bytes:
    """Compress."""
    return subprocess.run([program, "-qc"], input=data, capture_output=True, check=True).stdout


def test_not_an_image(own: Box, tmp_path: Path) -> None:
    """What is none is refused in one line, and nothing of it stays."""
    (tmp_path / "rootfs").mkdir()
    hint = "tar -C"
    for path, why in (
        (put(own, "text", b"hello" * 1000), "not a tar archive"),
        (put(own, "cut", docker_archive([BASE], "x")[:5000]), ""),
        (put(own, "bad", tar(member("oci-layout"), member("index.json", data=b"{}"))), "without manifests"),
        (put(own, "escape", tar(member("../x"))), "'..'"),
        (str(tmp_path / "rootfs"), hint),
        (str(tmp_path / "none"), "No such file"),
    ):
        done = own.pyproc("import", path, "x", check=False)
        assert (done.returncode, done.stderr.count("\n"), why in done.stderr) == (1, 1, True), done.stderr
    assert images(own) == {}
    own.pyproc("prune")
    assert layers(own) == os.listdir(store(own).blobs) == os.listdir(store(own).incoming) == []


def test_a_manifest_that_lies(own: Box, tmp_path: Path) -> None:
    """A blob, or a layer's content, that is not what its digest says is refused, and not kept."""
    oci_directory(tmp_path / "oci", [BASE], "x:1")
    for blob in (tmp_path / "oci/blobs/sha256").iterdir():
        kept = blob.read_bytes()
        blob.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        done = own.pyproc("import", str(tmp_path / "oci"), check=False)
        assert (done.returncode, "its content is not what its digest says" in done.stderr) == (1, True), done.stderr
        blob.write_bytes(kept)
    wrong = docker_archive([BASE], "x").replace(BASE[:8], b"q" + BASE[1:8], 1)
    done = own.pyproc("import", put(own, "w", wrong), check=False)
    assert done.returncode == 1
    assert images(own) == {}
    assert layers(own) == []
    own.pyproc("import", str(tmp_path / "oci"))


def test_export(own: Box, tmp_path: Path) -> None:
    """An exported image is read by skopeo and podman, comes back as the same, and is the same bytes each time."""
    own.pyproc("import", put(own, "d", docker_archive([BASE, tar(member("n"))], "h.io/it:1", Cmd=["/n"])))
    (id_,) = images(own).values()
    with mounted(own, "h.io/it:1", tmp_path / "before") as at:
        before = tree(at, leave_out=["mtime_ns"])  # of a directory Podman sets it when it is done
    for kind in ("oci-archive", "docker-archive"):
        path = tmp_path / f"{kind}.tar"
        own.pyproc("export", "h.io/it:1", "-o", str(path), "--format", kind)
        with (tmp_path / "again").open("wb") as file:
            command = [BIN / "pyproc", "export", *own.places, "--format", kind, id_[:12]]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as writing:  # as into another program
                assert writing.stdout is not None
                shutil.copyfileobj(writing.stdout, file)
            assert writing.returncode == 0
        assert (tmp_path / "again").read_bytes() == path.read_bytes()
        assert json.loads(do("skopeo", "inspect", "--config", f"{kind}:{path}"))["config"]["Cmd"] == ["/n"]
        with podman(path, "h.io/it:1") as at:
            assert tree(at, leave_out=["mtime_ns"]) == before
        other = Box(tmp_path / f"{kind}.own", own.scale)
        other.base.mkdir()
        other.pyproc("import", str(path))
        assert images(other) == {"h.io/it:1": id_}
    refused = own.pyproc("export", "h.io/it:1", "-o", "/nowhere/x", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


def test_verbs_have_help() -> None:
    """Each verb says what it takes."""
    for name in ("pull", "import", "images", "rmi", "export", "prune"):
        verb = importlib.import_module(f"runtime.verbs.{name}").VERB
        text = do(BIN / "pyproc", name, "--help")
        assert verb.summary.split(";")[0].split(".")[0][:30] in text
        assert all(option.flags[-1] in text for option in verb.options)


def test_through_a_pipe(box: Box) -> None:
    """What can't be looked at twice, as a shell's <(...), is an archive as any other."""
    path = put(box, "a", docker_archive([BASE], "a"))
    line = 'exec "$0" "${@:2}" -i <(cat "$1")'
    done = do("bash", "-c", line, BIN / "pyproc", path, "load", *box.places)
    assert images(box) == {"docker.io/library/a:latest": done.strip()}

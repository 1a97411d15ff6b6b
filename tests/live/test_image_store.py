"""The store of images: what is removed, at the same time as what else, and whatever is killed or damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.images import catalog, resolve
from tests.images import docker_archive, member, tar, tree
from tests.live.box import BIN, Box
from tests.live.test_images import BASE, images, layers, put, store

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]


def test_removing(own: Box) -> None:
    """Layers stay while an image or a container has them; names go one by one; prune takes the rest."""
    own.pyproc("import", put(own, "a", docker_archive([BASE], "a", "also")))
    own.pyproc("import", put(own, "b", docker_archive([BASE, tar(member("n"))], "b")))
    base, above = (resolve.resolve(str(own.base / "storage"), name).chains[-1] for name in ("a", "b"))
    assert layers(own) == sorted((base, above))
    assert "has the names" in own.pyproc("rmi", images(own)["docker.io/library/a:latest"][:12], check=False).stderr
    own.pyproc("rmi", "also")
    container = own.base / "storage/containers/c1"
    container.mkdir(parents=True)
    resolve.claim(resolve.resolve(str(own.base / "storage"), "b"), str(own.base / "storage"), str(container))
    assert "container is made of it" in own.pyproc("rmi", "b", check=False).stderr
    own.pyproc("rmi", "-f", "b")
    own.pyproc("rmi", "a")
    assert layers(own) == sorted((base, above))
    assert images(own) == {} and os.listdir(store(own).blobs) == []
    (container / resolve.USE).unlink()
    done = json.loads(own.pyproc("prune", "--json").stdout)
    assert (done["layers"], done["freed_bytes"] > 0, layers(own)) == (2, True, [])
    assert "is not here" in own.pyproc("rmi", "a", check=False).stderr


def test_a_name_that_moves(own: Box) -> None:
    """An image whose name went to another is shown without one, and prune removes it."""
    first = own.pyproc("import", put(own, "a", docker_archive([BASE], "a"))).stdout.strip()
    second = own.pyproc("import", put(own, "b", tar(member("b"))), "a").stdout.strip()
    text = own.pyproc("images").stdout
    assert f"<none>      <none>  {first[:12]}" in text and second[:12] in text
    own.pyproc("prune")
    assert images(own) == {"docker.io/library/a:latest": second}
    own.pyproc("prune", "-a")
    assert images(own) == {} and layers(own) == []


def test_at_the_same_time(own: Box) -> None:
    """Eight imports of images that share layers, at once, all succeed, and each layer is there once."""
    shared = [BASE, tar(*(member(f"f{n}", data=os.urandom(4000)) for n in range(300)))]
    archives = [put(own, f"{n}", docker_archive([*shared, tar(member(f"own{n % 3}"))], f"i{n}")) for n in range(8)]
    commands = [[str(BIN / "pyproc"), "import", *own.places, archive] for archive in archives]
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 8
    assert len(images(own)) == 8
    assert len(layers(own)) == 5
    assert os.listdir(store(own).incoming) == []


def test_prune_does_not_disturb(own: Box) -> None:
    """While something is added, prune takes nothing: it says to try again."""
    with store(own).shared():
        done = own.pyproc("prune", check=False)
    assert (done.returncode, "being added right now" in done.stderr) == (1, True)


KILLER = """
import os, sys
sys.path[:0] = {path!r}
number = int(sys.argv.pop(1))
def mortal(call):
    def counted(*args, **kwargs):
        global number
        number -= 1
        if number < 0:
            os.kill(os.getpid(), 9)
        return call(*args, **kwargs)
    return counted
for name in "open rename mkdir mknod link symlink setxattr fsync unlink fchown write rmdir".split():
    setattr(os, name, mortal(getattr(os, name)))
from runtime.cli import main
sys.exit(main("pyproc"))
"""


def test_killed_at_any_point(own: Box, tmp_path: Path) -> None:
    """Import and removal, killed before any of their system calls, leave what works, and what prune removes."""
    archive = put(own, "it", docker_archive([BASE, tar(member("a/.wh..wh..opq"), member("a/n"))], "it"))
    (tmp_path / "killer.py").write_text(KILLER.format(path=[str(Path(__file__).parents[2])]))
    own.pyproc("import", archive)
    whole, id_ = tree(store(own).layers, leave_out=["mtime_ns"]), images(own)
    own.pyproc("rmi", "it")
    for verb, *operands in (("import", archive), ("rmi", "it")):
        number, step = 0, 1
        while True:
            if verb == "rmi":
                own.pyproc("import", archive)
            command = [sys.executable, str(tmp_path / "killer.py"), str(number), verb, *own.places, *operands]
            done = subprocess.run(command, capture_output=True)
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert images(own) in ({}, id_)
            own.pyproc("prune")
            if not images(own):
                assert layers(own) == os.listdir(store(own).blobs) == os.listdir(store(own).incoming) == []
                own.pyproc("import", archive)
            assert tree(store(own).layers, leave_out=["mtime_ns"]) == whole
            own.pyproc("rmi", "it")
            number += step
            step = 1 if number < 30 else 5
        assert number > 15
        if verb == "import":
            own.pyproc("rmi", "it")


def test_a_damaged_layer_is_noticed(own: Box) -> None:
    """A blob that changed on the disk can't become a layer again."""
    own.pyproc("import", put(own, "a", docker_archive([BASE], "a")))
    entry = store(own).entries()[0]
    assert catalog.name(entry) == "docker.io/library/a:latest"
    manifest = store(own).blob(entry.digest)
    Path(manifest).write_bytes(b"{}")
    done = own.pyproc("export", "a", "-o", str(own.base / "x"), check=False)
    assert (done.returncode, "its content is not what its digest says" in done.stderr) == (1, True)
    assert not (own.base / "x").exists()

"""The layer of what the runtime makes, in directories of a test's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runtime.root.beneath import Beneath
from runtime.root.tree import Tree
from tests.images import tree

if TYPE_CHECKING:
    from pathlib import Path


def beneath(base: Path, *places: tuple[str, str]) -> None:
    """Make places for a root of two layers, with a part of its own at /usr."""
    layers = (str(base / "top"), str(base / "low"))
    parts = (
        ("", str(base / "init"), layers, str(base / "upper")),
        ("usr", str(base / "init-usr"), (str(base / "usr"),), str(base / "upper-usr")),
    )
    Beneath(parts, places).execute(Tree())


def made(base: Path) -> Path:
    """Make the layers."""
    for name in ("top/etc", "top/var", "low/etc", "low/srv/deep", "usr/lib", "init", "init-usr"):
        (base / name).mkdir(parents=True)
    (base / "low/var").symlink_to("etc")  # which the layer above has a directory over
    (base / "top/var/run").symlink_to("../run")
    (base / "low/out").symlink_to("../../../../etc/outside")
    (base / "low/lib").symlink_to("usr/lib")
    (base / "low/loop").symlink_to("loop")
    (base / "low/etc/hosts").write_text("x")
    os.chmod(base / "low/srv", 0o711)
    os.chmod(base / "top", 0o751)
    for name in ("low/srv/deep", "low/srv", "top/etc", "top", "usr/lib"):
        os.utime(base / name, ns=(0, 10**18))
    return base


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    """Places are found through links, inside the root; directories above look as they do below."""
    base = made(tmp_path)
    before = [tree(base / name) for name in ("top", "low", "usr")]
    (base / "file").touch()
    file = str(base / "file")
    places = ("/etc/hosts", file), ("/etc/new", file), ("/srv/deep/m/n", ""), ("/var/run/x", ""), ("/out/y", "")
    beneath(base, *places, ("/lib/z", ""), ("/usr/lib/w", file), ("/loop/v", ""), ("/etc", ""), ("/srv/deep", ""))
    found = tree(base / "init", root=True)
    assert {path for path in found if not found[path]["mode"].startswith("0o4")} == {"etc/new"}
    assert {path for path in found if found[path]["mode"].startswith("0o4")} == {
        ".", "etc", "srv", "srv/deep", "srv/deep/m", "srv/deep/m/n", "run", "run/x", "etc/outside", "etc/outside/y",
    }  # fmt: skip
    assert sorted(tree(base / "init-usr")) == ["lib", "lib/w", "lib/z"]
    assert not os.path.exists("/etc/outside")
    for path, like in ((".", "top"), ("etc", "top/etc"), ("srv", "low/srv"), ("srv/deep", "low/srv/deep")):
        about, below = os.stat(base / "init" / path), os.stat(base / like)
        assert (about.st_mode, about.st_mtime_ns) == (below.st_mode, below.st_mtime_ns), path
    assert os.stat(base / "upper").st_mode & 0o777 == 0o751
    assert [tree(base / name) for name in ("top", "low", "usr")] == before


def test_what_is_hidden(tmp_path: Path) -> None:
    """A mark hides it, however deep; directories above look as they do below, and a place may be made of it."""
    base = made(tmp_path)
    os.chmod(base / "usr/lib", 0o2751)
    os.utime(base / "usr/lib", ns=(0, 10**18))
    (base / "usr/lib/db").mkdir(mode=0o711)
    parts = (
        ("", str(base / "init"), (str(base / "top"),), str(base / "upper")),
        ("usr", str(base / "init-usr"), (str(base / "usr"),), str(base / "upper-usr")),
    )
    step = Beneath(parts, (("/usr/lib/db/key", str(base / "low/etc/hosts")),), False, (
        ("usr", ("lib/db/conf", "lib/db/key", "lib/private", "top")),
    ))  # fmt: skip
    step.execute(Tree())
    hidden = {"lib/db/conf", "lib/private", "top"}
    assert set(tree(base / "init-usr")) == {"lib", "lib/db", "lib/db/key", *hidden}
    marks = {path: os.stat(base / "init-usr" / path) for path in hidden}
    assert {(about.st_mode & 0o170000, about.st_rdev) for about in marks.values()} == {(0o020000, 0)}
    for path in ("lib", "lib/db"):
        about, below = os.stat(base / "init-usr" / path), os.stat(base / "usr" / path)
        assert (about.st_mode, about.st_mtime_ns) == (below.st_mode, below.st_mtime_ns), path
    more = step.replace(hidden=(("usr", ("lib/private/deep/er", "lib/db/conf", "lib/new")),))
    more.execute(Tree())  # started again: a directory that was hidden whole stays so
    assert set(tree(base / "init-usr")) == {"lib", "lib/db", "lib/db/key", "lib/new", *hidden}


def test_a_container_that_is_started_again(tmp_path: Path) -> None:
    """What is there is left alone; of its upper layer nothing is changed."""
    base = made(tmp_path)
    beneath(base, ("/srv/m", ""))
    os.chmod(base / "upper", 0o700)
    (base / "upper/mine").touch()
    before = tree(base / "init"), tree(base / "upper", root=True)
    beneath(base, ("/srv/m", ""))
    assert (tree(base / "init"), tree(base / "upper", root=True)) == before

"""What is said of the disk, and names that lead to others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.errors import Error
from runtime import claims, state
from runtime.kernel.taken import disk_bytes
from runtime.lifecycle import again, cleanup, space
from runtime.verbs import system

if TYPE_CHECKING:
    from pathlib import Path

PIECES = {"a": {"base": 100, "x": 10}, "b": {"base": 100, "y": 20}, "c": {"z": 5}}


def test_what_images_take() -> None:
    """A layer that several share counts once, and is freed only with the last of them."""
    told = {each["id"]: each for each in space.images(PIECES, {"a": ["one"]}, ["a", "a"])}
    assert (told["a"]["size_bytes"], told["a"]["shared_bytes"], told["a"]["unique_bytes"]) == (110, 100, 10)
    assert (told["a"]["containers"], told["a"]["names"], told["c"]["shared_bytes"]) == (2, ["one"], 0)
    assert space.union(PIECES, PIECES) == 135
    assert space.union(PIECES, PIECES) - space.union(PIECES, ["a", "gone"]) == 25


def test_as_people_see_it() -> None:
    """A table of all, or one of each."""
    found = {
        "summary": [space.row("Images", 3, 1, 2000, 500), space.row("Volumes", 0, 0, 0, 0)],
        "images": space.images(PIECES, {"a": ["one", "two"]}, ["a"]),
        "containers": [{"id": "a-container-by-its-name", "image": "one", "status": "running", "size_bytes": 1000}],
        "volumes": [],
    }
    assert system.tables(found, verbose=False).splitlines()[1].split() == [
        "Images", "3", "1", "2", "kB", "500", "B", "(25%)",
    ]  # fmt: skip
    text = system.tables(found, verbose=True)
    assert "one,two" in text and "a-container-by-its-name " in text and "VOLUME NAME" in text


def test_what_a_tree_takes(tmp_path: Path) -> None:
    """A file with two names counts once; what is not there takes nothing."""
    (tmp_path / "one").write_bytes(b"x" * 8192)
    once = disk_bytes(str(tmp_path))
    os.link(tmp_path / "one", tmp_path / "two")
    assert disk_bytes(str(tmp_path)) == once >= 8192
    assert disk_bytes(str(tmp_path / "none")) == 0


def running(root: Path) -> state.State:
    """Return a container that is there by the name ``old``."""
    os.close(claims.claim(str(root), "old"))
    claims.settle(f"{root}/old")
    found = state.State("old", f"{root}/old", f"{root}/old", "", "/pyproc/old", 1)
    state.save(found)
    return found


def test_a_name_leads_to_another(tmp_path: Path) -> None:
    """Cut off after its first step a renaming holds; the former name is taken, is listed nowhere, and is freed."""
    root = str(tmp_path)
    before = running(tmp_path)
    claims.rename(root, "old", "new")
    for name in ("new", "old"):
        found = state.load(root, name)
        assert (found.id, found.directory, found.bundle, found.key) == ("new", f"{root}/new", f"{root}/new", "old")
    assert state.ids(root) == ("new",)
    with pytest.raises(state.MissingError):
        state.find(root, "old")
    with pytest.raises(Error, match="'old' is not free yet: container 'new' was started by it"):
        claims.claim(root, "old")
    with pytest.raises(Error, match="'new' is taken"):
        claims.claim(root, "new")
    state.save(before.renamed("new"))
    claims.rename(root, "new", "newer")
    assert state.load(root, "old").id == state.load(root, "new").id == "newer"
    assert state.load(root, "newer").key == "old"
    os.close(state.lock(root, "old"))
    claims.forget(root, "newer")
    assert os.listdir(root) == ["newer"]


def test_a_renaming_that_never_was(tmp_path: Path) -> None:
    """A name that leads nowhere, since who was to exchange it was killed, is swept away after a minute."""
    os.symlink("new", tmp_path / "new")
    assert claims.loose(str(tmp_path), 0) == []
    assert claims.loose(str(tmp_path), 1e12) == [str(tmp_path / "new")]
    os.utime(tmp_path / "new", (0, 0), follow_symlinks=False)
    cleanup.sweep(str(tmp_path), str(tmp_path / "storage"))
    assert os.listdir(tmp_path) == []


def test_a_former_name_after_a_boot(tmp_path: Path) -> None:
    """It is no container's any more, and whoever wants it gets it."""
    storage = tmp_path / "storage"
    (storage / "containers/new").mkdir(parents=True)
    (storage / "containers/new" / state.REQUEST).write_text("{}")
    os.symlink("new", storage / "containers/old")
    again.revive(str(tmp_path / "root"), str(storage))
    os.close(again.room(str(tmp_path / "root"), "old", str(storage / "containers/old")))
    assert (storage / "containers/old").is_dir() and not (storage / "containers/old").is_symlink()

"""Removing what a container has left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runtime.kernel import removal

if TYPE_CHECKING:
    from pathlib import Path


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    """A tree deeper than Python recurses and longer than a path can be goes, and what its links lead to stays."""
    kept = tmp_path / "kept"
    kept.write_text("x")
    top = tmp_path / "top"
    top.mkdir()
    at = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.symlink(tmp_path, "link", dir_fd=at)
        os.mkdir("d" * 200, dir_fd=at)
        os.mkdir("empty", 0, dir_fd=at)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
    removal.remove_tree(str(top))
    assert os.listdir(tmp_path) == ["kept"]
    assert kept.read_text() == "x"
    removal.remove_tree(str(top))  # not there: fine

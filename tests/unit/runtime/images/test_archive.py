"""The files of an image in a directory that somebody else has made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.errors import Error
from runtime.images import manifest
from runtime.images.archive import Directory

if TYPE_CHECKING:
    from pathlib import Path


def test_what_never_ends(tmp_path: Path) -> None:
    """A pipe or a device in place of a file is refused at once, and a text of any length is not read whole."""
    os.mkfifo(tmp_path / "index.json")
    os.symlink("/dev/zero", tmp_path / "blob")
    found = Directory(str(tmp_path))
    for name in ("index.json", "blob"):
        with pytest.raises(Error, match=f"{name}: not a file"):
            found.text(name)
        with pytest.raises(Error, match=f"{name}: not a file"):
            next(found.pieces(name))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Error, match="large: too large"):
        found.text("large")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "file").write_bytes(b"x" * manifest.MAX_TEXT_BYTES)
    assert len(found.text("link")) == manifest.MAX_TEXT_BYTES

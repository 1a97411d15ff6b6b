"""From an upper layer back to an archive, and what it says was changed."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.errors import Error
from runtime.images import diff, resolve
from runtime.images.pack import Pack
from runtime.root.lower import Lower
from tests.images import docker_archive, member, tar, tree
from tests.live.test_images import BASE, WHITEOUTS, put, store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.box import Box

pytestmark = [pytest.mark.needs_layers, pytest.mark.anywhere]


def trees(box: Box, layers: list[bytes]) -> tuple[str, ...]:
    """Import an image of these layers and return their directories, the topmost first."""
    box.pyproc("import", put(box, "it", docker_archive(layers)), "it")
    return tuple(f"{store(box).layer(c)}/tree" for c in resolve.resolve(str(store(box).storage), "it").chains[::-1])


def packed(path: str, left_out: tuple[bytes, ...] = ()) -> bytes:
    """Return a directory's layer."""
    out, root = io.BytesIO(), os.open(path, os.O_RDONLY)
    try:
        Pack(root, left_out).write(out)
    finally:
        os.close(root)
    return out.getvalue()


def changes(upper: str, lower: str, left_out: tuple[bytes, ...] = ()) -> list[str]:
    """Return the changes, a word each."""
    below, top = Lower([lower]), os.open(upper, os.O_RDONLY)
    try:
        return [f"{letter} {path.decode()}" for letter, path in diff.changes(top, below, left_out)]
    finally:
        os.close(top)
        below.close()


@pytest.mark.parametrize("name", WHITEOUTS)
def test_there_and_back(own: Box, name: str) -> None:
    """An upper layer's archive unpacks to the very same layer: whiteouts, opaque directories and all."""
    top = trees(own, [BASE, tar(*WHITEOUTS[name][0])])[0]
    data = packed(top)
    again = trees(own, [BASE, data])[0]
    assert tree(again, leave_out=["mtime_ns"]) == tree(top, leave_out=["mtime_ns"])


def test_changes(own: Box) -> None:
    """Added, changed and deleted paths, also those an opaque directory hides; what is left out is not told."""
    members = (
        member("a", "dir"), member("a/.wh.x"), member("a/y", data=b"changed"), member("a/sub", "dir"),
        member("a/sub/n", data=b"new"), member("b", "dir"), member("b/.wh..wh..opq"), member("b/o"), member(".wh.f"),
        member("new", "dir"), member("new/in"), member("hosts"), member("c"),
    )  # fmt: skip
    top, base = trees(own, [BASE, tar(*members)])
    assert sorted(changes(top, base, (b"hosts",))) == sorted(
        ["C a", "D a/x", "C a/y", "C a/sub", "A a/sub/n", "C b", "D b/x", "A b/o", "D f", "A new", "A new/in", "C c"]
    )
    assert b"hosts" in packed(top) and b"hosts" not in packed(top, (b"hosts",))


def test_content_that_lies_elsewhere(own: Box, tmp_path: Path) -> None:
    """A directory that overlayfs has redirected can't be told in an archive, and is refused."""
    (tmp_path / "upper/d").mkdir(parents=True)
    os.setxattr(tmp_path / "upper/d", "trusted.overlay.redirect", b"/elsewhere")
    with pytest.raises(Error, match="redirect_dir=off"):
        packed(str(tmp_path / "upper"))

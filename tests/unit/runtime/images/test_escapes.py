"""Nothing outside of a tree is touched, whatever an archive says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.images import member, tar, tree
from tests.unit.runtime.images.test_entry import HOSTILE
from tests.unit.runtime.images.test_unpack import attempt

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Return a directory beside the tree with something to lose."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    return tmp_path / "outside"


ESCAPES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "through a link to the outside": [("l", "symlink", {"linkname": "OUTSIDE"}), ("l/new", "file", {})],
    "through a relative link": [("l", "symlink", {"linkname": "../outside"}), ("l/new", "file", {})],
    "through a link in a link": [
        ("a", "dir", {}), ("a/l", "symlink", {"linkname": ".."}),
        ("m", "symlink", {"linkname": "a/l/../../outside"}), ("m/new", "file", {}),
    ],
    "over a link": [("l", "symlink", {"linkname": "OUTSIDE/secret"}), ("l", "file", {})],
    "a directory's attributes over a link": [
        ("l", "symlink", {"linkname": "OUTSIDE"}), ("l", "dir", {"mode": 0o777}),
    ],
    "a hard link through a link": [
        ("l", "symlink", {"linkname": "OUTSIDE"}), ("h", "hardlink", {"linkname": "l/secret"}),
    ],
    "a hard link to a link, written to": [
        ("l", "symlink", {"linkname": "OUTSIDE/secret"}), ("h", "hardlink", {"linkname": "l"}), ("h", "file", {}),
    ],
    "a directory replaced by a link": [
        ("d", "dir", {}), ("d/x", "file", {}), ("d", "symlink", {"linkname": "OUTSIDE"}),
        ("d/new", "file", {}), ("d/secret", "file", {}),
    ],
    "by way of /proc": [("l", "symlink", {"linkname": "/proc/self/cwd"}), ("l/new", "file", {})],
    "a fifo and a device's name": [("l", "symlink", {"linkname": "OUTSIDE"}), ("l/f", "fifo", {})],
    "through itself": [("l", "symlink", {"linkname": "l"}), ("l/x", "file", {})],
}  # fmt: skip


@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_gets_out(tmp_path: Path, outside: Path, name: str) -> None:
    """Whatever links an archive makes, what follows them stays inside of the tree or is refused."""
    before = tree(tmp_path / "outside", root=True)
    members = []
    for path, kind, given_fields in ESCAPES[name]:
        changed = {
            k: v.replace("OUTSIDE", str(outside)) if isinstance(v, str) else v for k, v in given_fields.items()
        }
        members.append(member(path, kind, b"overwritten" if kind == "file" else b"", **changed))
    outcome = attempt(tar(*members), tmp_path)
    assert "\n" not in outcome
    assert tree(tmp_path / "outside", root=True) == before
    assert sorted(os.listdir(tmp_path)) == ["outside", "tar", "tree"]


@pytest.mark.parametrize(("name", "kind", "given_fields", "why"), [case for case in HOSTILE if "type" not in case[2]])
def test_hostile_entries_in_a_tar(
    tmp_path: Path, name: str, kind: str, given_fields: dict[str, Any], why: str
) -> None:
    """What ``entry`` refuses is refused from an archive, too."""
    info, _ = member("x", kind)
    for field, value in given_fields.items():
        if field not in ("sparse", "size"):
            setattr(info, field, value)
    info.name = name
    try:
        data = tar((info, b""))
    except (ValueError, OverflowError):  # tarfile itself can't write it
        return
    attempt(data, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["tar", "tree"]

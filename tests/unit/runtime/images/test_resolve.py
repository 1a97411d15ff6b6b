"""From names to layers, on the way of a start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from runtime.images import catalog, manifest, resolve
from runtime.images.manifest import Config, Descriptor
from tests.images import configuration, digest
from tests.unit.runtime.test_startup import imported

if TYPE_CHECKING:
    from pathlib import Path


def storage(path: Path, layers: list[tuple[str, bool]], name: str = "docker.io/library/it:latest") -> str:
    """Write a storage with an image of these layers: chain id, and whether it is opaque as a whole."""
    text = configuration([b"x" for _ in layers], Cmd=["sh"])
    blobs = path / "images/blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / digest(text)[7:]).write_bytes(text)
    for chain, opaque in layers:
        (path / "layers" / chain / "tree").mkdir(parents=True)
        (path / "layers" / chain / "layer.json").write_bytes(json_text.dumps({"opaque": opaque}))
    found = Descriptor(manifest.MANIFEST, "sha256:" + "0" * 64, 1)
    entry = catalog.entry_of(found, digest(text), [chain for chain, _ in layers], name)
    (path / "images/index.json").write_bytes(manifest.index_text([entry]))
    (path / "images/lock").touch()
    return str(path)


def test_the_layers(tmp_path: Path) -> None:
    """The topmost layer is first; below one that is opaque as a whole nothing shows."""
    at = storage(tmp_path, [("a", False), ("b", True), ("c", False)])
    found = resolve.resolve(at, "it")
    assert found.lowers == (f"{at}/layers/c/tree", f"{at}/layers/b/tree")
    assert (found.chains, found.config, found.name) == (
        ("a", "b", "c"),
        Config(cmd=("sh",)),
        "docker.io/library/it:latest",
    )


def test_what_is_not_here(tmp_path: Path) -> None:
    """Nothing there, no such image, one without files, a damaged index: exit code 125."""
    with pytest.raises(Error, match="pyproc pull it") as missing:
        resolve.resolve(str(tmp_path), "it")
    assert missing.value.exit_code == 125
    with pytest.raises(Error, match="has no files"):
        resolve.resolve(storage(tmp_path, []), "it")
    (tmp_path / "images/index.json").write_bytes(b"[")
    with pytest.raises(Error, match="not a JSON object") as damaged:
        resolve.resolve(str(tmp_path), "it")
    assert damaged.value.exit_code == 125


def test_a_claim(tmp_path: Path) -> None:
    """A container's storage names its layers and what an image of it will say; one whose layers have gone is told."""
    at = storage(tmp_path, [("a", False)])
    found = resolve.resolve(at, "it").replace(said={"Cmd": ["x"]})
    resolve.claim(found, at, at)
    use = json_text.loads((tmp_path / resolve.USE).read_bytes())
    assert use == {"id": found.id, "name": found.name, "layers": ["a"], "config": {"Cmd": ["x"]}}
    (tmp_path / "layers/a/tree").rmdir()
    with pytest.raises(Error, match="removed just now"):
        resolve.claim(found, at, at)


def test_a_start_imports_little() -> None:
    """Finding an image imports neither what unpacks nor what costs milliseconds."""
    code = "import sys; sys.path.insert(0, '.'); import runtime.images.resolve, runtime.images.merge"
    found = imported("-c", code)
    heavy = {"json", "re", "hashlib", "tarfile", "subprocess", "typing", "dataclasses", "contextlib", "click"}
    assert not found & heavy
    ours = {name for name in found if name.startswith("runtime.images.")}
    assert ours == {f"runtime.images.{name}" for name in ("catalog", "manifest", "merge", "reference", "resolve")}

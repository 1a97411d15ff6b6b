"""The fixtures of live tests."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.images import docker_archive, member, tar
from tests.live.box import Box
from tests.live.busybox import PARENT, Bundle, Runtime, left
from tests.live.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, time_scale: float) -> Iterator[Box]:
    """Yield a box with a daemon that serves."""
    found = Box(tmp_path_factory.mktemp("box"), time_scale)
    found.start_daemon()
    yield found
    found.close()


@pytest.fixture
def clean(box: Box) -> Iterator[Box]:
    """Yield the box, and see that a test's containers leave nothing."""
    yield box
    assert box.left() == []


@pytest.fixture
def own(tmp_path: Path, time_scale: float) -> Iterator[Box]:
    """Yield a test's own box, without a daemon yet."""
    found = Box(tmp_path, time_scale)
    yield found
    found.close()


@pytest.fixture
def name(clean: Box) -> Iterator[str]:
    """Yield a name, and remove what bears it."""
    yield "web"
    clean.pyproc("rm", "--force", "web")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Yield a loop device with a file system, and where that is mounted."""
    image, at = tmp_path / "image", tmp_path / "at"
    at.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", image], check=True)
    attach = ["losetup", "-f", "--show", str(image)]
    loop = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    try:
        subprocess.run(["mount", loop, at], check=True)
        try:
            yield loop, at
        finally:
            subprocess.run(["umount", at], check=True)
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)


@pytest.fixture(scope="session")
def parents() -> Iterator[None]:
    """Remove the parents of bundles' cgroups at the end, which no runtime may remove."""
    yield
    for at, names, _ in os.walk("/sys/fs/cgroup"):
        if PARENT[1:] in names:
            os.rmdir(f"{at}/{PARENT[1:]}")


@pytest.fixture
def runtime(tmp_path: Path, time_scale: float, parents: None) -> Iterator[Runtime]:
    """Yield our runtime, and see that nothing is left of its containers."""
    found = Runtime("pyproc", tmp_path, time_scale)
    yield found
    for id_ in found("list", "-q").stdout.split():
        found("delete", "--force", id_)
    assert left() == []


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle whose cgroup is this test's alone."""
    found = Bundle(tmp_path / "bundle", "true")
    found.linux["cgroupsPath"] = f"{PARENT}/{tmp_path.name}"
    return found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, time_scale: float) -> Iterator[Registry]:
    """Yield a registry with the image ``app/three:1`` of three layers."""
    found = Registry(tmp_path_factory.mktemp("registry"), time_scale)
    layers = [tar(member(f"f{n}", data=os.urandom(3 << 20))) for n in range(3)]
    (found.base / "three.tar").write_bytes(docker_archive(layers, "three", Cmd=["/f0"]))
    found.push(found.base / "three.tar", "app/three:1")
    yield found
    found.process.terminate()
    found.process.wait()

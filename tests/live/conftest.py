"""The fixtures of live tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.live.box import Box
from tests.live.busybox import PARENT, Bundle, Runtime, left

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

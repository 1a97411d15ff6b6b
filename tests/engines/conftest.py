"""The fixtures of the engines' tests. They run in a guest that has the engines: see tests/vm/test --engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines import cri, engine
from tests.systemd import host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def installed(nothing_left: None, time_scale: float, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install all, hooks too, start the service and the engines, and give them an image."""
    host.install()
    host.systemctl("start", host.SERVICE)
    cri.configure()
    engine.prepare()
    directory = tmp_path_factory.mktemp("image")
    engine.image(directory)
    cri.image(directory)
    yield
    engine.restore()
    host.systemctl("stop", host.MOUNT)
    host.wait(lambda: not host.mounts() and not host.processes(), time_scale)
    host.uninstall()


@pytest.fixture(
    params=["podman-crun", "podman-runc", "ctr-view", "docker-view", "podman-pyproc", "ctr-pyproc", "docker-pyproc"]
)
def anyone(request: pytest.FixtureRequest) -> Iterator[engine.Engine]:
    """Yield each engine."""
    found = engine.Engine(*request.param.split("-"))
    yield found
    found.close()


@pytest.fixture(params=["podman-crun", "docker-view", "podman-pyproc", "docker-pyproc"])
def managed(request: pytest.FixtureRequest) -> Iterator[engine.Engine]:
    """Yield each engine that manages containers: not ctr, which is containerd's tool for trying things."""
    found = engine.Engine(*request.param.split("-"))
    yield found
    found.close()


@pytest.fixture(params=["podman-crun", "podman-pyproc"])
def podman(request: pytest.FixtureRequest) -> Iterator[engine.Engine]:
    """Yield Podman."""
    found = engine.Engine(*request.param.split("-"))
    yield found
    found.close()

"""The fixtures of the engines' tests: on this machine, or in a guest that has them (tests/vm/test --engines)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines import cri, engine
from tests.engines.engine import CRUN, MANAGED, RUNC
from tests.engines.guest import Guest
from tests.engines.here import Here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.machine import Machine


@pytest.fixture(scope="session")
def machine(
    nothing_left: None, lane: str, time_scale: float, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Yield a machine on which our daemon and the engines run; those have an image."""
    found: Machine = Here(time_scale) if lane == "here" else Guest(time_scale)
    try:
        found.configure()
        cri.configure(found)
        found.start()
        engine.image(found, tmp_path_factory.mktemp("image"))
        found.until(lambda: cri.knows(found.socket, engine.IMAGE), time_scale, 60)
        yield found
    finally:
        found.close()


def _engine(machine: Machine, name: str) -> Iterator[engine.Engine]:
    found = engine.Engine(machine, *name.split("-"))
    yield found
    found.close()


@pytest.fixture(params=[CRUN, "podman-runc", *MANAGED[2:], "ctr-view", "ctr-pyproc"])
def anyone(machine: Machine, request: pytest.FixtureRequest) -> Iterator[engine.Engine]:
    """Yield each engine with each runtime."""
    yield from _engine(machine, request.param)


@pytest.fixture(params=MANAGED)
def managed(machine: Machine, request: pytest.FixtureRequest) -> Iterator[engine.Engine]:
    """Yield each engine that manages containers: not ctr, which is containerd's tool for trying things."""
    yield from _engine(machine, request.param)


@pytest.fixture(params=[CRUN, RUNC, "podman-pyproc"])
def podman(machine: Machine, request: pytest.FixtureRequest) -> Iterator[engine.Engine]:
    """Yield Podman."""
    yield from _engine(machine, request.param)

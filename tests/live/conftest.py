"""The fixtures of live tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live.box import Box

if TYPE_CHECKING:
    from collections.abc import Iterator


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

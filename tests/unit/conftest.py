"""The fixtures of several unit tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Yield a session that nobody serves, of a kernel that can't ask again."""
    found = Scene(relay=True)
    yield found
    found.close()

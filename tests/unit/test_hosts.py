"""Golden hosts: captured machines, and what their containers must be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.hosts import HOSTS, PATHS, Still

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED = sorted(
    path.relative_to(HOSTS) for path in HOSTS.glob("*/expected/*/**/*") if path.is_file()
)  # NAME/expected/ID/PATH


@pytest.mark.parametrize("path", EXPECTED, ids=str)
def test_golden(path: Path) -> None:
    """A container of a captured host reads what was found right when it was captured."""
    host, _, id_, *rest = path.parts
    still = Still(HOSTS / host)
    try:
        assert still.text(id_, "/".join(rest)) == (HOSTS / path).read_bytes()
    finally:
        still.files.close()


def test_every_view_is_covered() -> None:
    """Every file that is served is expected of some host."""
    assert {"/".join(path.parts[3:]) for path in EXPECTED} == set(PATHS)

"""What fuzzing has found so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).resolve().parent.parent / "fuzz" / "corpus"


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_before(target: str) -> None:
    """Every kept input is stood."""
    found = sorted((CORPUS / target).iterdir())
    assert found
    for path in found:
        TARGETS[target](path.read_bytes())

"""People's usual programs believe the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tools import matrix

if TYPE_CHECKING:
    from tests.live.box import Box


def _case(limits: matrix.Limits) -> object:
    marks = [pytest.mark.needs_cpus(limits.needs_cpus)]
    if limits.needs_cpuset:
        marks.append(pytest.mark.needs_cpuset)
    return pytest.param(limits, marks=marks, id=limits.name)


@pytest.mark.parametrize("limits", [_case(limits) for limits in matrix.LIMITS])
def test_programs_are_told_the_limits(clean: Box, limits: matrix.Limits) -> None:
    """Every program says of memory, swap, CPUs, uptime and load what the container's cgroups say."""
    wrong = [row for row in matrix.ask(clean, limits) if not row.agrees]
    assert wrong == [], matrix.table(wrong)

"""Draws figures over time on a terminal, against what they may be at most. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"
EIGHTHS = 8
AXIS = 9
"""What stands left of a plot: a figure, and the axis."""


def column(value: float, limit: float, height: int) -> str:
    """Return one bar, from the bottom up; however little is used shows, and what is over the limit ends there."""
    full = height * EIGHTHS
    parts = round(min(1.0, value / limit) * full) if limit > 0 else 0
    parts = max(parts, 1) if value > 0 else parts
    return "".join(BLOCKS[max(0, min(EIGHTHS, parts - row * EIGHTHS))] for row in range(height))


def plot(values: Sequence[float], limit: float, width: int, height: int, top: str) -> list[str]:
    """Return the lines of one plot: the latest values at the right, the limit, called ``top``, at the upper edge."""
    room = max(1, width - AXIS)
    bars = [column(value, limit, height) for value in values[-room:]]
    lines = []
    for row in range(height - 1, -1, -1):
        label = top if row == height - 1 else "0" if row == 0 else ""
        mark = "┤" if label else "│"
        lines.append(f"{label[: AXIS - 2]:>{AXIS - 2}} {mark}" + "".join(bar[row] for bar in bars).rjust(room))
    return lines


def beside(left: Sequence[str], right: Sequence[str], width: int) -> list[str]:
    """Return two plots side by side, each ``width`` wide."""
    return [f"{one:<{width}}  {other}".rstrip() for one, other in zip(left, right, strict=True)]

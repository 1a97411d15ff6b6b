"""Asks programs inside containers with several limits what they see, and compares it with what the cgroups say."""

from __future__ import annotations

import os
import sysconfig
import time
from typing import TYPE_CHECKING, NamedTuple

from tests import lanes
from tests.tools.probes import MIB, PROBES, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.lanes import Lane
    from tests.live.box import Box

MARK, ECHO = "@@@", "echo '@''@@'"
"""What stands before each program's output, and what writes it (top and htop show the script; no mark is in it)."""


class Limits(NamedTuple):
    """One container's limits; None is the host's."""

    name: str
    options: tuple[str, ...]
    memory_bytes: int | None = None
    swap_bytes: int | None = None
    cpus: int | None = None
    needs_cpus: int = 1
    needs_cpuset: bool = False


LIMITS = (
    Limits("128 MiB, half a CPU", ("-m", "128m", "--cpus", "0.5"), 128 * MIB, 128 * MIB, 1),
    Limits("1 GiB, a cpuset of one", ("-m", "1g", "--cpuset-cpus", "0"), 1024 * MIB, 1024 * MIB, 1, 1, True),
    Limits(
        "768 MiB, 256 MiB of swap, 2 CPUs of 4",
        ("-m", "768m", "--memory-swap", "1g", "--cpus", "2"),
        768 * MIB, 256 * MIB, 2, 4,
    ),
    Limits("none", ()),
)  # fmt: skip


class Row(NamedTuple):
    """What one program said of one fact."""

    limits: str
    tool: str
    fact: str
    said: float | None
    truth: float
    agrees: bool


def unified() -> bool:
    """Say whether this host has cgroup2 alone."""
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def fitting(lane: Lane) -> list[Limits]:
    """Return the limits a machine can give."""
    return [
        limits for limits in LIMITS if limits.needs_cpus <= lane.cpus and (lane.cpuset or not limits.needs_cpuset)
    ]


def host() -> dict[str, int]:
    """Return the host's memory, swap and CPUs."""
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = {line.split(":")[0]: int(line.split()[1]) << 10 for line in file}
    return {"memory": lines["MemTotal"], "swap": lines["SwapTotal"], "cpus": os.cpu_count() or 1}


def agrees(fact: str, value: float | None, truth: float, scale: float) -> bool:
    """Say whether a program tells the truth, within what it rounds to."""
    if value is None:
        return False
    if fact == "heap":  # a quarter of the memory, half of a small one
        return 0 < value <= truth / 2
    if fact in ("uptime", "load"):
        return abs(value - truth) <= (60 if fact == "uptime" else 0.3) * max(1, scale / 3)
    return abs(value - truth) <= (0.02 * truth if fact == "memory" or fact == "swap" else 0)


def ask(box: Box, limits: Limits) -> Iterator[Row]:
    """Run every program that this lane can run in one container, one after the other."""
    machine, (_, lane) = host(), lanes.current()
    probes = [probe for probe in PROBES if not probe.needs or getattr(lane, probe.needs)]
    truth = {
        "memory": min(limits.memory_bytes or machine["memory"], machine["memory"]),
        "swap": machine["swap"] if limits.swap_bytes is None else min(limits.swap_bytes, machine["swap"]),
        "cpus": min(limits.cpus or machine["cpus"], machine["cpus"]),
    }
    truth["heap"] = truth["memory"]
    seconds = round(30 * box.scale)
    script = "".join(f"{ECHO}; (timeout {seconds} sh <<'END'\n{probe.command}\nEND\n) 2>&1\n" for probe in probes)
    site = sysconfig.get_path("platlib")
    start = time.monotonic()
    text = box.run("--rm", *limits.options, "-v", f"{site}:/site:ro", "--", "sh", "-c", script).stdout
    span = time.monotonic() - start
    for probe, output in zip(probes, text.split(f"{MARK}\n")[1:], strict=True):
        for answer in probe.answers:
            value = said(answer, output)
            # How long it had run when it was asked, and how busy it was, lies within the container's life.
            right = {**truth, "uptime": min(value or 0, span), "load": min(value or 0, 1.0)}[answer.fact]
            yield Row(
                limits.name, probe.tool, answer.fact, value, right, agrees(answer.fact, value, right, box.scale)
            )


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table: a line for each fact that a program tells, a column for each limits."""
    columns: dict[str, None] = {}
    lines: dict[tuple[str, str, int], dict[str, Row]] = {}
    for row in rows:
        columns[row.limits] = None
        times = sum(row.limits in found for (tool, fact, _), found in lines.items() if (tool, fact) == row[1:3])
        lines.setdefault((row.tool, row.fact, times), {})[row.limits] = row
    found = [f"| program | fact | {' | '.join(columns)} |", f"|---|---{'|---' * len(columns)}|"]
    for (tool, fact, _), by_limits in lines.items():
        cells = (_cell(by_limits[name]) if name in by_limits else "" for name in columns)
        found.append(f"| {tool} | {fact} | {' | '.join(cells)} |")
    return "\n".join(found)


def _cell(row: Row) -> str:
    says = "nothing" if row.said is None else _text(row.fact, row.said)
    return says if row.agrees else f"**{says}, not {_text(row.fact, row.truth)}**"


def _text(fact: str, value: float) -> str:
    if fact in ("memory", "swap", "heap"):
        return f"{value / MIB:.0f} MiB"
    return f"{value:.0f} s" if fact == "uptime" else f"{value:g}"

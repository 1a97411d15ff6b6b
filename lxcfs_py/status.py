"""The daemon's status for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def table(found: dict[str, Any]) -> str:
    """Return what ``daemon.status`` gathered."""
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    agent = found["agent"]
    yield f"lxcfs-py {found['version']} serves at {found['mountpoint']}"
    yield f"supervisor: {_process(found['supervisor'])}; agent: {_process(agent) if agent else 'none'}"
    yield ""
    yield from _columns(
        ("worker", "pid", "age", "starts", "requests", "errors", "fallbacks", "state"),
        [
            (row["number"], row["pid"], age(row["age_seconds"]), row["starts"], row["requests"], row["errors"],
             row["fallbacks"], _state(row))
            for row in found["workers"]
            if row["pid"]
        ],
    )  # fmt: skip
    yield ""
    yield from _columns(
        ("reads", "median us", "p99 us", "max us", "file"),
        [
            (row["count"], *(f"{row[name]:.0f}" for name in ("p50_usec", "p99_usec", "max_usec")), file)
            for file, row in found["files"].items()
            if row["count"]
        ],
    )
    yield ""
    rows = [(row["reads"], row["init_pid"], row["id"]) for row in found["containers"]]
    rows += [(found["others"]["reads"], "", f"(not registered, or no more: {found['others']['containers']})")]
    rows += [(found["host_reads"], "", "(the host)")]
    yield from _columns(("reads", "init pid", "container"), rows)
    yield ""
    log = found["log"]
    yield (
        f"seccomp listeners: {found['seccomp_listeners']}; pressure triggers: {found['triggers']}; "
        f"log lines: {log['written']}, left out: {log['left_out']}"
    )


def _state(row: dict[str, Any]) -> str:
    if not row["busy_usec"]:
        return str(row["state"])
    return f"{row['state']}: {row['operation']} since {row['busy_usec'] / 1000:.1f} ms"


def _process(row: dict[str, Any]) -> str:
    return f"pid {row['pid']}, {age(row['age_seconds'])}"


def age(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down."""
    for unit, size in UNITS:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _columns(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Return lines of columns, all to the right but the last."""
    texts = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        *cells, last = row
        yield "  ".join([*(cell.rjust(width) for cell, width in zip(cells, widths, strict=False)), last])

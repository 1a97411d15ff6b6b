"""``pyproc stats``: what containers use, as a table that goes on, as JSON, or as a picture."""

from __future__ import annotations

import os
import sys
import time

from lxcfs_py.errors import Error
from runtime import listed, state
from runtime.command_line import Option
from runtime.lifecycle import finding
from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.command_line import Parsed
    from runtime.lifecycle.usage import Reader, Sample

VERB = Verb(
    "stats",
    "Show what containers use of what they may: those that run, or those named.",
    "[ID...]",
    0,
    None,
    (
        Option(("--no-stream",), "Show it once", kind="flag"),
        Option(("-i", "--interval"), "Time between two looks (1s)", "SECONDS", "interval"),
        Option(("--graph",), "Draw CPU and memory over time, against the limit", kind="flag"),
        listed.FORMAT,
        JSON,
    ),
)
LISTING = listed.Listing(
    {
        "ID": "ID", "CPUPerc": "CPU %", "CPUs": "CPUS", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
        "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS", "Name": "NAME", "Container": "CONTAINER",
    },
    ("ID", "CPUPerc", "CPUs", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"),
)  # fmt: skip
HEIGHT = 5
"""Lines of a plot."""
KEPT = 500
"""How many looks a picture remembers."""
CLEAR = "\x1b[H\x1b[J"


UNKNOWN = "--"


def _percent(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}%"


def _sizes(*values: float | None) -> str:
    from runtime.images.progress import size

    return UNKNOWN if None in values else " / ".join(size(value) for value in values if value is not None)


def row(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what is shown of one container, as Docker has it."""
    return {
        "ID": found["id"],
        "CPUPerc": _percent(found["cpu_percent"], 2),
        "CPUs": f"{found['cpus']:g}",
        "MemUsage": f"{_sizes(found['memory_bytes'])} / {_sizes(found['memory_limit_bytes'])}",
        "MemPerc": _percent(found["memory_percent"], 2),
        "NetIO": _sizes(found["received_bytes"], found["sent_bytes"]),
        "BlockIO": _sizes(found["read_bytes"], found["written_bytes"]),
        "PIDs": UNKNOWN if found["pids"] is None else str(found["pids"]),
        "Name": found["id"],
        "Container": found["id"],
    }


def picture(history: Sequence[Sequence[Mapping[str, Any]]], width: int) -> str:
    """Return the plots of all containers of the last look; a container that was not there before used nothing."""
    from runtime.lifecycle import graph

    half, lines = max(graph.AXIS + 10, (width - 2) // 2), []
    for now in history[-1]:
        past = [{each["id"]: each for each in look}.get(now["id"]) for look in history]
        cpu, memory = (
            [float(each[key] or 0) if each else 0.0 for each in past] for key in ("cpu_percent", "memory_bytes")
        )
        most, limit = now["cpus"] * 100, now["memory_limit_bytes"]
        of = f"memory {_sizes(now['memory_bytes'])} of {_sizes(limit)} ({_percent(now['memory_percent'], 0)})"
        lines += graph.beside([f"{now['id']}: CPU {_percent(now['cpu_percent'], 1)} of {most:g}%"[:half]], [of], half)
        lines += graph.beside(
            graph.plot(cpu, most, half, HEIGHT, f"{most:g}%"),
            graph.plot(memory, limit, half, HEIGHT, _sizes(limit).replace(" ", "")),
            half,
        )
    return "".join(f"{line}\n" for line in lines) or "no container runs\n"


def samples(reader: Reader, root: str, named: Sequence[str]) -> dict[str, Sample]:
    """Return a sample of each container that runs, or of those named: what can't be read of these is an Error."""
    found = {}
    for id_ in named or state.ids(root):
        try:
            sample = reader.sample(state.load(root, id_))
        except Error as error:
            if named and not isinstance(error, state.MissingError):  # removed meanwhile
                raise
            continue
        if sample is not None:
            found[id_] = sample
    return found


def _shown(parsed: Parsed, history: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    if parsed["json"]:
        return LISTING.written(listed.JSON, history[-1], row)
    tty = os.isatty(1)
    if parsed["graph"]:
        text = picture(history, os.get_terminal_size(1).columns if tty else 80)
    else:
        text = LISTING.written(parsed["format"] or listed.TABLE, history[-1], row)
    return CLEAR + text if tty and not parsed["no_stream"] else text


def run(parsed: Parsed) -> int:
    """Show it again and again, or once, after a first look that is not shown: CPU time is used between two.

    What has been named has to run; where it is shown again and again, until the last of it has ended.
    """
    from runtime.lifecycle.usage import Reader, between

    root, reader = parsed["root"], Reader()
    named = [finding.find(parsed, text) for text in parsed.rest]
    history: list[list[dict[str, Any]]] = []
    before = samples(reader, root, named)
    for id_ in named:
        if id_ not in before:
            state.load(root, id_)
            raise Error(f"container {id_!r} uses nothing: it does not run", f"pyproc start {id_} starts it")
    while before or not named:
        time.sleep(parsed["interval"] or 1.0)
        now = samples(reader, root, named)
        history = [*history[-KEPT:], between(before, now)]
        before = now
        sys.stdout.write(_shown(parsed, history))
        sys.stdout.flush()
        if parsed["no_stream"]:
            break
    return 0

"""Containers alive at once: how long starting and removing them takes, and what each of them costs beside its command.

``density.py COUNT START REMOVE`` (two command lines, as JSON; ``ID`` stands for each container's, in REMOVE ``IDS`` for
all of them) prints the seconds of starting, the KiB of memory that are gone for each, and the seconds of removing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS = "314159"
"""What every container's sleep is told, by which it is known."""
REST_SECONDS = 3.0
"""In which the kernel frees what it frees later."""


def available_kib() -> int:
    """Return how much memory can be had."""
    text = Path("/proc/meminfo").read_text()
    return int(text.partition("MemAvailable:")[2].split()[0])


def commands_kib() -> int:
    """Return what the commands themselves hold (PSS)."""
    found = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().endswith(f"\0{SECONDS}\0".encode()):
                found += int((path / "smaps_rollup").read_text().partition("Pss:")[2].split()[0])
        except OSError:
            continue
    return found


def do(command: Iterable[str]) -> None:
    """Run a command, and say what it said if it failed."""
    done = subprocess.run(
        [*command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.decode()}")


def main(count: int, start: list[str], remove: list[str]) -> None:
    """Start, look and remove."""
    ids = [f"dense-{number}" for number in range(count)]
    before, since = available_kib(), time.monotonic()
    for id_ in ids:
        # a container keeps the streams it gets: a pipe would never end
        line = [id_ if word == "ID" else word for word in start]
        null = subprocess.DEVNULL
        if code := subprocess.run(line, stdin=null, stdout=null, stderr=null, check=False).returncode:
            sys.exit(f"{' '.join(line)}: {code}")
    started = time.monotonic() - since
    time.sleep(REST_SECONDS)
    each = (before - available_kib() - commands_kib()) / count
    since = time.monotonic()
    if "IDS" in remove:
        do([word for given in remove for word in (ids if given == "IDS" else [given])])
    else:
        for id_ in ids:
            do([id_ if word == "ID" else word for word in remove])
    print(started, each, time.monotonic() - since)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))

#!/usr/bin/env python3
"""Start one container with 256 MiB and 1 CPU and print what it is told beside what the host is told.

`make demo` calls this. Exit status 1 if the container is told anything but its limits.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import NamedTuple

BIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ".venv", "bin")
MEMORY_MIB = 256
CPUS = 1
CONTAINER = (f"{BIN}/pyproc-run", "--rm", "-m", f"{MEMORY_MIB}m", "--cpus", str(CPUS), "--")

COMMANDS = {
    "free -m": "free -m",
    "top -bn1": "top -bn1",
    "/proc/cpuinfo": "cat /proc/cpuinfo",
    "/proc/stat": "cat /proc/stat",
    "/proc/uptime": "cat /proc/uptime",
    "uptime": "uptime",
}
MARK = "@@@"
SCRIPT = "; ".join(f"echo {MARK}{name}; {command}" for name, command in COMMANDS.items())


class Row(NamedTuple):
    """One line of the table."""

    what: str
    source: str
    pattern: str
    allowed: str
    """What the limit says, in the container's words; "" where there is none to compare with."""


ROWS = (
    Row("memory in all, MiB", "free -m", r"Mem:\s+(\d+)", str(MEMORY_MIB)),
    Row("memory used, MiB", "free -m", r"Mem:\s+\d+\s+(\d+)", ""),
    Row("memory available, MiB", "free -m", r"Mem:.*?(\d+)\n", ""),
    Row("memory in all, MiB", "top -bn1", r"MiB Mem :\s+([\d.]+)", f"{MEMORY_MIB}.0"),
    Row("tasks", "top -bn1", r"Tasks:\s+(\d+)", ""),
    Row("CPUs", "/proc/cpuinfo", r"(?m)^processor\s*:", str(CPUS)),
    Row("CPUs", "/proc/stat", r"(?m)^cpu\d", str(CPUS)),
    Row("CPU time used, 1/100 s", "/proc/stat", r"^cpu +(.*)", ""),
    Row("seconds since start", "/proc/uptime", r"^([\d.]+)", ""),
    Row("up", "uptime", r"up +(.+?), +\d+ user", ""),
    Row("load average", "uptime", r"load average: (.*)", ""),
)


def sections(text: str) -> dict[str, str]:
    """Split the output of SCRIPT by command."""
    parts = (part.partition("\n") for part in text.split(MARK)[1:])
    return {name: body for name, _, body in parts}


def value(row: Row, texts: dict[str, str]) -> str:
    """Return what a text says about a row: its first group, or how often the pattern is found."""
    text = texts.get(row.source, "")
    if row.what.startswith("CPUs"):
        return str(len(re.findall(row.pattern, text)))
    found = re.search(row.pattern, text)
    if found is None:
        return "?"
    if row.what.startswith("CPU time"):
        user, nice, system, *_ = (int(ticks) for ticks in found[1].split())
        return str(user + nice + system)
    return found[1]


def output(command: tuple[str, ...]) -> str:
    """Run a command and return what it prints; its errors go to ours."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        sys.exit(f"demo: {command[0]}: {error.strerror}; run `make demo`, which installs it")
    if done.returncode != 0:
        sys.exit(f"demo: {' '.join(command[:6])} ended with {done.returncode}")
    return done.stdout


def main() -> None:
    """Print the table and what to type next."""
    shell = ("/bin/sh", "-c", SCRIPT)
    if os.getuid() != 0:
        sys.exit("demo: starting a container needs root; run `sudo make demo`")
    print(f"$ {' '.join(('pyproc-run', *CONTAINER[1:]))} {', '.join(COMMANDS.values())}\n", flush=True)
    inside = sections(output((*CONTAINER, *shell)))
    host = sections(output(shell))
    wrong = []
    line = "{:<24}{:<15}{:>18}{:>10}{:>18}"
    print(line.format("", "from", "the host", "allowed", "inside").rstrip())
    for row in ROWS:
        here, there = value(row, host), value(row, inside)
        print(line.format(row.what, row.source, here, row.allowed or "-", there).rstrip())
        if there != row.allowed and (row.allowed or there == "?"):
            wrong.append(f"{row.source} says {there} for {row.what}, not {row.allowed or 'a number'}")
    if wrong:
        sys.exit(f"\ndemo: the container is told something else than its limits: {'; '.join(wrong)}")
    print(
        f"\nNext, in {BIN}:\n"
        "  pyproc-run --rm -it -m 256m --cpus 1 -- bash      look around yourself\n"
        "  pyproc-run -d --name idle -m 64m -- sleep 1000    then: pyproc list, pyproc exec idle -- free -m\n"
        "  pyproc-run --help                                 every option\n"
        "  lxcfs-py umount                                   stop the daemon that serves the files"
    )


if __name__ == "__main__":
    main()

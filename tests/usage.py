"""What a daemon uses: memory and descriptors of all its processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """All processes of a daemon together."""

    pss_bytes: int
    shared_bytes: int
    """Of the memory the workers share, whether mapped or not; what is mapped is in ``pss_bytes`` too."""
    descriptors: int

    def __str__(self) -> str:
        return (
            f"PSS {self.pss_bytes / 1e6:.1f} MB, shared {self.shared_bytes / 1e6:.1f} MB, "
            f"{self.descriptors} descriptors"
        )


def processes(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += processes(int(child))
    return found


def _pss_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def usage(pid: int) -> Usage:
    """Return what the daemon of a supervisor uses."""
    pids = processes(pid)
    shared = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has been closed
            if os.readlink(path).startswith("/memfd:"):
                about = path.stat()
                shared[about.st_dev, about.st_ino] = about.st_blocks * 512
    descriptors = sum(len(os.listdir(f"/proc/{each}/fd")) for each in pids)
    return Usage(sum(map(_pss_bytes, pids)), sum(shared.values()), descriptors)

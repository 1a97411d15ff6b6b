"""What files take of the disk."""

from __future__ import annotations

import os


def disk_bytes(path: str) -> int:
    """Return what a file or tree takes of the disk: a file of several names once, what goes meanwhile nothing."""
    seen: dict[tuple[int, int], int] = {}
    for at, names, files in os.walk(os.fsencode(path)):
        for name in (*names, *files):
            try:
                about = os.lstat(os.path.join(at, name))
            except FileNotFoundError:
                continue
            seen[about.st_dev, about.st_ino] = about.st_blocks * 512
    try:
        return sum(seen.values()) or os.lstat(path).st_blocks * 512
    except FileNotFoundError:
        return 0

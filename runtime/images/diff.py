"""What a container has changed: what of its upper layer was added, changed or deleted, as Docker says it."""

from __future__ import annotations

import os

from runtime.kernel.mountapi import openat2
from runtime.root.lower import ABSENT, is_directory, is_opaque, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runtime.root.lower import Lower

ADDED, CHANGED, DELETED = "A", "C", "D"


def _held(upper: int, path: bytes) -> tuple[dict[bytes, os.stat_result], bool]:
    """Return what a directory of the upper layer holds, and whether it is opaque.

    A container may be changing it: nothing outside is ever looked at, and what has just gone is not there.
    """
    found: dict[bytes, os.stat_result] = {}
    try:
        directory = openat2(upper, path or b".", os.O_RDONLY | os.O_DIRECTORY)
    except ABSENT:
        return found, False
    try:
        for name in map(os.fsencode, os.listdir(directory)):
            try:
                found[name] = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
        return found, bool(path) and is_opaque(directory)
    finally:
        os.close(directory)


def changes(upper: int, lower: Lower, left_out: Collection[bytes] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield letter and path (relative) of each change; ``upper`` is open, ``left_out`` and what is below is not told.

    A directory in which something changed is changed too; what an opaque directory hides is deleted.
    """
    todo = [b""]
    while todo:
        above = todo.pop()
        inner = []
        own, opaque = _held(upper, above)
        hidden: list[bytes] = []
        if opaque:
            about = lower.find(above)
            if about is not None and is_directory(about):
                hidden = [name for name in lower.names(above) if name not in own]
        for name in sorted((*own, *hidden)):
            path = above + b"/" + name if above else name
            if path in left_out:
                continue
            if name in hidden:
                yield DELETED, path
                continue
            about = own[name]
            if is_whiteout(about):
                if lower.find(path) is not None:
                    yield DELETED, path
                continue
            yield (ADDED if lower.find(path) is None else CHANGED), path
            if is_directory(about):
                inner.append(path)
        todo += reversed(inner)

"""What a container has changed: what of its upper layer was added, changed or deleted, as Docker says it."""

from __future__ import annotations

import os

from runtime.root.lower import is_directory, is_opaque, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from runtime.root.lower import Lower

ADDED, CHANGED, DELETED = "A", "C", "D"


def changes(upper: int, lower: Lower, left_out: Collection[bytes] = ()) -> Iterator[tuple[str, bytes]]:
    """Yield letter and path (relative) of each change; ``upper`` is open, ``left_out`` and what is below is not told.

    A directory in which something changed is changed too; what an opaque directory hides is deleted.
    """
    todo = [b""]
    while todo:
        above = todo.pop()
        inner = []
        own = sorted(os.listdir(b"/proc/self/fd/%d/%b" % (upper, above)))
        hidden: list[bytes] = []
        if above and is_opaque(upper, above):
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
            about = os.stat(path, dir_fd=upper, follow_symlinks=False)
            if is_whiteout(about):
                if lower.find(path) is not None:
                    yield DELETED, path
                continue
            yield (ADDED if lower.find(path) is None else CHANGED), path
            if is_directory(about):
                inner.append(path)
        todo += reversed(inner)

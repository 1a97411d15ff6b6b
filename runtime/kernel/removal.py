"""Removes directories that others have filled."""

from __future__ import annotations

import os


def remove_tree(path: str) -> None:
    """Remove a directory and all below it, without following links, however deep it is: a container has filled it.

    Directories are moved up to the top before they are emptied, so that no path gets long (``shutil`` recurses, and
    costs 3 ms of import).
    """
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        inner = _emptied(top)
        mark, moved = os.urandom(8).hex(), 0
        while inner:
            name = inner.pop()
            directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                for child in _emptied(directory):
                    moved += 1
                    os.rename(child, f"{mark}.{moved}", src_dir_fd=directory, dst_dir_fd=top)
                    inner.append(f"{mark}.{moved}")
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _emptied(directory: int) -> list[str]:
    """Remove a directory's files; return the names of its directories."""
    inner = []
    with os.scandir(directory) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return inner

"""What the layers below show: overlayfs's own rules for merged directories (overlayfs.rst of the kernel)."""

from __future__ import annotations

import os

from runtime import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKS = {True: "user.overlay.", False: "trusted.overlay."}
"""What the names of overlayfs's marks begin with, by whether they are a user's (overlayfs.rst, "userxattr")."""
ABSENT = (FileNotFoundError, NotADirectoryError)


def is_whiteout(about: os.stat_result) -> bool:
    """Say whether it is overlayfs's mark for something deleted: a character device 0:0."""
    return about.st_mode & 0o170000 == 0o020000 and about.st_rdev == 0


def is_directory(about: os.stat_result) -> bool:
    """Say whether it is a directory."""
    return about.st_mode & 0o170000 == 0o040000


def is_link(about: os.stat_result) -> bool:
    """Say whether it is a symbolic link."""
    return about.st_mode & 0o170000 == 0o120000


def opaque_mark() -> str:
    """Return the attribute by which overlayfs is told that what lies below a directory does not show."""
    return f"{MARKS[places.unprivileged()]}opaque"


def is_opaque(directory: int, path: bytes = b"") -> bool:
    """Say whether what lies below a directory's path does not show."""
    try:
        where = b"/proc/self/fd/%d/%b" % (directory, path)  # a slash at the end leads through the link
        return os.getxattr(where, opaque_mark(), follow_symlinks=False) == b"y"
    except OSError:
        return False


class Lower:
    """Unpacked layers, the topmost first, as the one tree that shows; nothing in them changes."""

    def __init__(self, trees: Sequence[str]) -> None:
        self.layers = tuple(os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for tree in trees)

    def close(self) -> None:
        """Close the layers."""
        for layer in self.layers:
            os.close(layer)

    def find(self, path: bytes) -> os.stat_result | None:
        """Return what shows there, None for nothing; links in the path are not followed."""
        return self._merged(path)[0]

    def link(self, path: bytes) -> bytes:
        """Return the text of the symbolic link that shows there."""
        above = path.rpartition(b"/")[0]
        for layer in self._merged(above)[1] if above else self.layers:
            try:
                return os.readlink(path, dir_fd=layer)
            except ABSENT:
                continue
        raise FileNotFoundError(path)

    def directory(self, path: bytes) -> bytes:
        """Return where the directory that shows there can be looked at: its attributes are the topmost layer's."""
        return b"/proc/self/fd/%d/%b" % (next(iter(self._merged(path)[1]), -1), path)

    def names(self, path: bytes) -> Iterator[bytes]:
        """Yield the names that show in a directory."""
        gone: set[bytes] = set()
        for layer in self._merged(path)[1] if path else self.layers:
            for name in os.listdir(b"/proc/self/fd/%d/%b" % (layer, path)):
                if name not in gone:
                    gone.add(name)
                    where = path + b"/" + name if path else name
                    if not is_whiteout(os.stat(where, dir_fd=layer, follow_symlinks=False)):
                        yield name

    def _merged(self, path: bytes) -> tuple[os.stat_result | None, Sequence[int]]:
        """Return what shows, and the layers whose directories of that path are merged."""
        layers: Sequence[int] = self.layers
        found: os.stat_result | None = None
        parts = path.split(b"/")
        for end in range(1, len(parts) + 1):
            prefix, found, merged = b"/".join(parts[:end]), None, []
            for layer in layers:
                try:
                    about = os.stat(prefix, dir_fd=layer, follow_symlinks=False)
                except ABSENT:
                    continue
                if is_whiteout(about):
                    break
                found = found or about
                if not is_directory(about):
                    break
                merged.append(layer)
                if is_opaque(layer, prefix):
                    break
            layers = merged
            if found is None:
                break
        return found, layers

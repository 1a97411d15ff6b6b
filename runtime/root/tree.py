"""The file system tree that is being made into a container's root: every path in it ends inside it.

Until the root is there, the tree is the host's. A descriptor stands for its top, and each path is resolved below it
by openat2(2): no link of an image leads out, nor does who renames directories of a shared volume meanwhile.
"""

from __future__ import annotations

import errno
import os

from runtime.errors import RunError
from runtime.kernel import mountapi

MAX_LINKS = 40
"""As the kernel's MAXSYMLINKS."""
FLAGS = os.O_PATH | os.O_CLOEXEC


class Tree:
    """A root, by descriptor; ``path`` is where the host sees it."""

    def __init__(self, path: str = "/") -> None:
        self.path = path
        self.top = os.open(path, FLAGS | os.O_DIRECTORY)
        self.sources: dict[tuple[str, str, bool], int] = {}
        """Mounts that were copied while we could still reach them (user namespaces)."""
        self.terminal = -1
        """The slave of the container's terminal."""

    def enter(self, path: str) -> None:
        """Let another directory, a path below the present top, be the top from now on."""
        self.top = self.open(path, FLAGS | os.O_DIRECTORY)
        self.path = os.readlink(f"/proc/self/fd/{self.top}")

    def open(self, path: str, flags: int = FLAGS, mode: int = 0) -> int:
        """Return a descriptor of what is there; raises OSError."""
        return mountapi.openat2(self.top, path, flags, mode)

    def exists(self, path: str) -> int:
        """Return a descriptor, -1 where nothing is."""
        try:
            return self.open(path)
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def place(self, path: str, *, whole: bool) -> int:
        """Return a descriptor of the directory, if it is to be a ``whole`` one, or file, to mount something on."""
        try:
            found = self.directory(path) if whole else self.file(path)
        except NotADirectoryError:
            found = self.exists(path)
            if found < 0:  # what is above it is a file
                raise
        if (os.fstat(found).st_mode & 0o170000 == 0o040000) != whole:  # S_IFMT, S_IFDIR
            what = ("a directory can't lie on a file", "a file can't lie on a directory")[not whole]
            raise RunError(f"mount {path}: {what}", "name another place")
        return found

    def directory(self, path: str, mode: int = 0o755, links: int = MAX_LINKS) -> int:
        """Return a descriptor of the directory, made with those above it where there is none.

        Where a link leads to nothing, what it leads to is made.
        """
        try:
            return self.open(path, FLAGS | os.O_DIRECTORY)
        except FileNotFoundError:
            if not links:
                raise
        above, name = os.path.split(path.rstrip("/"))
        parent = self.directory(above or "/", links=links - 1)
        try:
            os.mkdir(name, mode, dir_fd=parent)
            made = os.open(name, FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            os.chmod(f"/proc/self/fd/{made}", mode)  # whatever the umask is
        except FileExistsError:
            try:
                leads = os.readlink(name, dir_fd=parent)
            except OSError:  # somebody has made it just now
                return self.directory(path, mode, links - 1)
            return self.directory(os.path.join(above or "/", leads), mode, links - 1)
        else:
            return made
        finally:
            os.close(parent)

    def parent(self, path: str) -> tuple[int, str]:
        """Return the directory a path is in, made where there is none, and the last component."""
        above, name = os.path.split(path.rstrip("/"))
        return self.directory(above or "/"), name

    def file(self, path: str) -> int:
        """Return a descriptor of the file or whatever is there; an empty file is made where nothing is."""
        found = self.exists(path)
        if found >= 0:
            return found
        parent, name = self.parent(path)
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        except FileExistsError:  # a link that leads to nothing: within the root it is made
            os.close(self.open(path, os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK, 0o644))
        finally:
            os.close(parent)
        return self.open(path)

    def where(self, descriptor: int) -> str:
        """Return a descriptor's path as the container will see it; raises OSError if it is not (any more) inside."""
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self.path == "/":
            return path
        if path != self.path and not path.startswith(f"{self.path}/"):
            raise OSError(errno.EXDEV, "it is not inside the root", path)
        return path[len(self.path) :] or "/"

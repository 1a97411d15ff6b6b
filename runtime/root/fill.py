"""The first use of a volume: while it is empty, what the image holds at its place is copied into it, as Docker does.

What was copied whole is put into place name by name, and who was killed meanwhile is carried on from there: never is
half a copy taken for a whole one, nor is anything replaced that a container has put there itself.
"""

from __future__ import annotations

import fcntl
import os

from runtime.kernel import attributes
from runtime.kernel.removal import remove_tree
from runtime.kernel.syscalls import syncfs
from runtime.root import copyup
from runtime.root.lower import is_directory
from runtime.root.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.root.tree import Tree

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Fill(Step):
    """Copy what is at ``target`` inside into the volume whose data are at ``data``, unless something is there."""

    data: str
    target: str

    def execute(self, tree: Tree) -> None:
        """Hold the volume's lock: of two containers that come at once one copies, and the other waits for it."""
        source = tree.exists(self.target)
        if source < 0:
            return
        try:
            if not is_directory(os.fstat(source)):  # mounting will say so
                return
            lock = os.open(os.path.dirname(self.data), OPEN)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._fill(source)
            finally:
                os.close(lock)
        finally:
            os.close(source)

    def _fill(self, source: int) -> None:
        above = os.path.dirname(self.data)
        half, whole = f"{above}/half", f"{above}/whole"
        if not os.path.isdir(whole):
            remove_tree(half)
            if os.listdir(self.data):
                return
            os.mkdir(half, 0o700)
            made = os.open(half, OPEN)
            try:
                copyup.copy(source, made)
                if os.listdir(made):
                    syncfs(made)
            finally:
                os.close(made)
            os.rename(half, whole)
        self._place(whole)

    def _place(self, whole: str) -> None:
        here, there = os.open(whole, OPEN), os.open(self.data, OPEN)
        about = os.fstat(here)
        try:
            for name in os.listdir(here):
                try:
                    os.stat(name, dir_fd=there, follow_symlinks=False)
                except FileNotFoundError:
                    os.rename(name, name, src_dir_fd=here, dst_dir_fd=there)
            attributes.same(here, there)
            os.utime(there, ns=(about.st_atime_ns, about.st_mtime_ns))  # moving has changed its
        finally:
            os.close(here)
            os.close(there)
        remove_tree(whole)

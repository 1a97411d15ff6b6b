"""What the drivers of both versions do alike."""

from __future__ import annotations

import os

from lxcfs_py.cgroup.api import HugePages
from lxcfs_py.cgroup.parse import integer, levels, limit, numbers, processes, text
from lxcfs_py.cgroup.sizes import PAGE_SIZES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lxcfs_py.cgroup.layout import Hierarchy
    from lxcfs_py.files import Files

MOST_PATHS = 4096
"""Of how many cgroups the directories are remembered."""


class Base:
    """One hierarchy and how its files are reached."""

    def __init__(self, files: Files, hierarchy: Hierarchy) -> None:
        self._files = files
        self._hierarchy = hierarchy
        self._directories: dict[str, tuple[str, ...]] = {}

    def directories(self, path: str) -> tuple[str, ...]:
        """Return the directories of a cgroup and its ancestors, leaf first, without the root's."""
        found = self._directories.get(path)
        if found is None:
            if len(self._directories) >= MOST_PATHS:
                self._directories.clear()
            found = self._directories[path] = tuple(map(self._hierarchy.directory, levels(path)))
        return found

    def _text(self, directory: str, file: str) -> bytes | None:
        return text(self._files, f"{directory}/{file}")

    def _integer(self, directory: str, file: str) -> int | None:
        return integer(text(self._files, f"{directory}/{file}"))

    def _limit(self, directory: str, file: str) -> int | None:
        return limit(text(self._files, f"{directory}/{file}"))

    def _hugetlb(self, path: str, limits: str, usage: str) -> tuple[HugePages, ...]:
        """Return the page sizes the nearest level accounts for; files are named ``hugetlb.SIZE.max`` and the like."""
        directories = self.directories(path)
        found = []
        for name, size in PAGE_SIZES:
            each = (self._integer(directory, f"hugetlb.{name}.{usage}") for directory in directories)
            used = next((bytes_ for bytes_ in each if bytes_ is not None), None)
            if used is not None:
                every = least(self._limit(directory, f"hugetlb.{name}.{limits}") for directory in directories)
                found.append(HugePages(size, every, used))
        return tuple(found)

    def pids(self, path: str) -> tuple[int, ...]:
        """Return cgroup.procs of the cgroup and all below it."""
        top = self._hierarchy.directory(path)
        return tuple(pid for directory in below(top) for pid in processes(self._files, directory))

    def task_count(self, path: str) -> int | None:
        """Return pids.current, which counts the threads."""
        return self._integer(self._hierarchy.directory(path), "pids.current")

    def slabinfo(self, path: str) -> bytes:
        """Return v1's memory.kmem.slabinfo, which older kernels fill; cgroup2 has none."""
        try:
            return self._files.read(f"{self._hierarchy.directory(path)}/memory.kmem.slabinfo")
        except OSError:
            return b""

    def _threads(self, path: str, file: str) -> tuple[int, ...]:
        """Return the threads that the files of this name list, of the cgroup and all below it."""
        found: tuple[int, ...] = ()
        for directory in below(self._hierarchy.directory(path)):
            try:
                found += numbers(self._files.read(f"{directory}/{file}"))
            except OSError:  # gone, or (EOPNOTSUPP) an invalid domain
                continue
        return found


def least(limits: Iterable[int | None]) -> int | None:
    """Return the smallest of those that are known."""
    return min((value for value in limits if value is not None), default=None)


def below(directory: str) -> Iterator[str]:
    """Yield a cgroup's directory and all below it; those that vanish meanwhile are left out."""
    yield directory
    try:
        if os.stat(directory).st_nlink == 2:  # kernfs counts directories: none are below
            return
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for name in names:
        yield from below(f"{directory}/{name}")

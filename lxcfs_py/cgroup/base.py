"""What the drivers of both versions do alike."""

from __future__ import annotations

from lxcfs_py.cgroup.api import HugePages
from lxcfs_py.cgroup.layout import below
from lxcfs_py.cgroup.parse import integer, levels, limit, numbers, processes
from lxcfs_py.cgroup.sizes import PAGE_SIZES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lxcfs_py.cgroup.layout import Hierarchy
    from lxcfs_py.files import Files

MOST_PATHS = 4096
"""Of how many cgroups the directories are remembered."""


class Base:
    """One hierarchy and how its files are reached."""

    def __init__(self, files: Files, hierarchy: Hierarchy) -> None:
        self._files = files
        self._hierarchy = hierarchy
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}

    def _places(self, path: str) -> tuple[str, tuple[str, ...]]:
        """Return a cgroup's directory; and this and its ancestors', leaf first, without the root's."""
        found = self._known.get(path)
        if found is None:
            if len(self._known) >= MOST_PATHS:
                self._known.clear()
            directory = self._hierarchy.directory
            found = self._known[path] = directory(path), tuple(map(directory, levels(path)))
        return found

    def _text(self, directory: str, file: str) -> bytes | None:
        try:
            return self._files.read_one(f"{directory}/{file}")
        except OSError as error:
            self._files.done_without(error)
            return None

    def _integer(self, directory: str, file: str) -> int | None:
        return integer(self._text(directory, file))

    def _limit(self, directory: str, file: str) -> int | None:
        return limit(self._text(directory, file))

    def _hugetlb(self, path: str, limits: str, usage: str) -> tuple[HugePages, ...]:
        """Return the page sizes the nearest level accounts for; files are named ``hugetlb.SIZE.max`` and the like."""
        directories = self._places(path)[1]
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
        return self._integer(self._places(path)[0], "pids.current")

    def slabinfo(self, path: str) -> bytes:
        """Return v1's memory.kmem.slabinfo, which older kernels fill; cgroup2 has none."""
        try:
            return self._files.read(f"{self._places(path)[0]}/memory.kmem.slabinfo")
        except OSError:
            return b""

    def numa_stat(self, path: str) -> Mapping[int, Mapping[str, int]]:  # noqa: ARG002
        """Return nothing: v1's memory.numa_stat counts the pages of three lists alone."""
        return {}

    def _threads(self, path: str, file: str) -> tuple[int, ...]:
        """Return the threads that the files of this name list, of the cgroup and all below it."""
        found: tuple[int, ...] = ()
        for directory in below(self._places(path)[0]):
            try:
                found += numbers(self._files.read(f"{directory}/{file}"))
            except OSError:  # gone, or (EOPNOTSUPP) an invalid domain
                continue
        return found


def least(limits: Iterable[int | None]) -> int | None:
    """Return the smallest of those that are known."""
    return min((value for value in limits if value is not None), default=None)

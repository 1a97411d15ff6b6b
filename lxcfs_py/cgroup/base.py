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

MOST_KNOWN = 1 << 18
"""How many characters of files' paths are remembered: a cgroup may have two thousand above it."""


class Base:
    """One hierarchy and how its files are reached."""

    def __init__(self, files: Files, hierarchy: Hierarchy) -> None:
        self._files = files
        self._hierarchy = hierarchy
        self._own: dict[tuple[str, str], str] = {}
        self._over: dict[tuple[str, tuple[str, ...]], tuple[tuple[str, ...], ...]] = {}
        self._characters = 0

    def _at(self, path: str, file: str) -> str:
        """Return where a cgroup has a file."""
        found = self._own.get((path, file))
        if found is None:
            found = f"{self._hierarchy.directory(path)}/{file}"
            self._make_room(len(found))
            self._own[path, file] = found
        return found

    def _levels(self, path: str, *files: str) -> tuple[tuple[str, ...], ...]:
        """Return where a cgroup and each of its ancestors has these files, leaf first, without the root."""
        found = self._over.get((path, files))
        if found is None:
            directories = map(self._hierarchy.directory, levels(path))
            found = tuple(tuple(f"{directory}/{file}" for file in files) for directory in directories)
            self._make_room(sum(len(file) for level in found for file in level))
            self._over[path, files] = found
        return found

    def _make_room(self, characters: int) -> None:
        """Forget all if these were too many."""
        self._characters += characters
        if self._characters > MOST_KNOWN:
            self._own.clear()
            self._over.clear()
            self._characters = characters

    def _text(self, file: str) -> bytes | None:
        try:
            return self._files.read_one(file)
        except OSError as error:
            self._files.done_without(error)
            return None

    def _integer(self, file: str) -> int | None:
        return integer(self._text(file))

    def _limit(self, file: str) -> int | None:
        return limit(self._text(file))

    def _hugetlb(self, path: str, limits: str, usage: str) -> tuple[HugePages, ...]:
        """Return the page sizes the nearest level accounts for; files are named ``hugetlb.SIZE.max`` and the like."""
        found = []
        for name, size in PAGE_SIZES:
            each = (self._integer(file) for (file,) in self._levels(path, f"hugetlb.{name}.{usage}"))
            used = next((bytes_ for bytes_ in each if bytes_ is not None), None)
            if used is not None:
                every = least(self._limit(file) for (file,) in self._levels(path, f"hugetlb.{name}.{limits}"))
                found.append(HugePages(size, every, used))
        return tuple(found)

    def pids(self, path: str) -> tuple[int, ...]:
        """Return cgroup.procs of the cgroup and all below it."""
        top = self._hierarchy.directory(path)
        return tuple(pid for directory in below(top) for pid in processes(self._files, directory))

    def task_count(self, path: str) -> int | None:
        """Return pids.current, which counts the threads."""
        return self._integer(self._at(path, "pids.current"))

    def slabinfo(self, path: str) -> bytes:
        """Return v1's memory.kmem.slabinfo, which older kernels fill; cgroup2 has none."""
        try:
            return self._files.read(self._at(path, "memory.kmem.slabinfo"))
        except OSError:
            return b""

    def numa_stat(self, path: str) -> Mapping[int, Mapping[str, int]]:  # noqa: ARG002
        """Return nothing: v1's memory.numa_stat counts the pages of three lists alone."""
        return {}

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

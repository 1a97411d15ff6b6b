"""What one worker remembers of open files is never another file's."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pyfuse3
import pytest

from lxcfs_py import shared
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.counters import Table
from lxcfs_py.fuse import opened
from lxcfs_py.fuse.opened import File, OpenFiles
from lxcfs_py.host import Host
from lxcfs_py.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

A, B = (Container(f"{name}@1", Cgroup({"": f"/{name}"})) for name in "ab")
PATH, WORKERS, PAGE = "proc/meminfo", 2, 4096


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[OpenFiles]]:
    """Yield the open files of two workers, whose texts say for whom they are."""
    monkeypatch.setattr(OpenFiles, "_text", lambda _self, file, pid: text(file.container, pid))
    memory, reader = shared.Shared(os.memfd_create("shared"), WORKERS, 1, PAGE), Reader(Host())
    counters = os.memfd_create("counters")
    table = Table(counters, WORKERS)
    yield [OpenFiles(number, reader, memory, table.row(number), Mock(), print) for number in range(WORKERS)]
    for descriptor in (memory.descriptor, counters):
        os.close(descriptor)


def text(container: Container | None, pid: int) -> bytes:
    """Return what a file says."""
    return f"{container and container.key} {pid}".encode()


def test_a_number_that_came_round(workers: list[OpenFiles]) -> None:
    """A handle that another worker has closed, and whose number is given again, is whose it is now: also for the
    worker that opened both, and whether it knows the second file or not.
    """
    one, other = workers
    memory = one._shared
    handles = set()
    for container in (A, A, B, B, A):
        shared._SLOT.pack_into(memory._map, memory._slots_at, 41, bytes(8))
        handles.add(handle := one.open(PATH, container, 7))
        assert other.read(handle, 0, PAGE) == one.read(handle, 0, PAGE) == text(container, 7)
        other.close(handle)
    assert len(handles) == 1


@pytest.mark.parametrize("offset", [0, PAGE])
def test_a_slot_in_doubt(workers: list[OpenFiles], offset: int) -> None:
    """A read ends the doubt whether anybody has a file, also one by the worker that opened it: though who opened it
    has ended, the file is not given back, and its slot not to another.
    """
    one, other = workers
    for _ in range(2):  # it remembers what it opens when it knows the file
        handle = one.open(PATH, A, 7)
        assert one.read(handle, 0, PAGE) == text(A, 7)
    one._shared.doubt(handle & 0xFFFFFFFF)
    assert one.read(handle, offset, PAGE) == text(A, 7)[offset:]
    one._shared.reclaim(lambda _tid: False)
    assert one.open(PATH, B, 8) & 0xFFFFFFFF != handle & 0xFFFFFFFF
    assert one.read(handle, 0, PAGE) == other.read(handle, 0, PAGE) == text(A, 7)


@pytest.mark.parametrize("offset", [0, 2])
def test_a_slot_that_is_anothers(workers: list[OpenFiles], offset: int) -> None:
    """What was given back is nobody's file any more, also for the worker that opened it; whose slot it is now reads
    its own text.
    """
    one, other = workers
    for _ in range(2):  # it remembers what it opens when it knows the file
        handle = one.open(PATH, A, 7)
        assert one.read(handle, 0, PAGE) == text(A, 7)
        other.close(handle)
    following = other._shared.open(0, one._abouts[PATH, A.key, False][1], 8, B.key)
    assert following & 0xFFFFFFFF == handle & 0xFFFFFFFF
    assert other.read(following, 0, 3) == text(A, 8)[:3]
    with pytest.raises(pyfuse3.FUSEError) as caught:
        one.read(handle, offset, 2)
    assert caught.value.errno == errno.EBADF
    assert other.read(following, 3, PAGE) == text(A, 8)[3:]


def test_forgotten_when_there_are_many(workers: list[OpenFiles], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered has bounds, and whatever is forgotten is found again."""
    one, other = workers
    monkeypatch.setattr(opened, "MOST_OWN", 2)
    handles = {one.open(PATH, (A, B)[pid % 2], pid): pid for pid in range(1, 9)}
    for handle, pid in handles.items():
        assert one.read(handle, 0, PAGE) == other.read(handle, 0, PAGE) == text((A, B)[pid % 2], pid)
    more = {one.open(PATH, (A, B)[pid % 2], pid): pid for pid in range(9, 19)}
    assert len(one._own) <= 2
    for handle, pid in more.items():
        assert one.read(handle, 0, PAGE) == text((A, B)[pid % 2], pid)
    assert all(isinstance(file, File) for file, _ in one._own.values())


def test_pieces(workers: list[OpenFiles]) -> None:
    """A text that is read in pieces is one text, whoever hands them out; one read from within is made, too."""
    one, other = workers
    handle = one.open(PATH, A, 7)
    whole = text(A, 7)
    assert one.read(handle, 2, 2) == whole[2:4]
    assert [one.read(handle, 0, 2), other.read(handle, 2, 2), one.read(handle, 4, PAGE)] == [
        whole[:2], whole[2:4], whole[4:],
    ]  # fmt: skip
    assert other.read(handle, len(whole), PAGE) == one.read(handle, PAGE, 1) == b""

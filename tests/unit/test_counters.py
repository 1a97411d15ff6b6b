"""What the workers count."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import counters
from lxcfs_py.counters import BUCKETS, NAMES, Table, Times
from lxcfs_py.fuse.boundary import boundary
from lxcfs_py.fuse.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def table() -> Iterator[Table]:
    """Yield a table for two workers."""
    descriptor = os.memfd_create("test")
    yield Table(descriptor, 2)
    os.close(descriptor)


def test_reads_are_counted_where_they_belong(table: Table) -> None:
    """A read counts for its worker, file and container, for no other, and across the worker's deaths."""
    for _ in range(3):
        row = table.row(1)
        row.start()
        row.words[counters.BUSY_SINCE_NSEC] = time.monotonic_ns() - 5_000_000
        row.read(NAMES.index("proc/stat"), row.cell("web@7"))
        row.read(NAMES.index("proc/stat"), counters.HOST)
    found = table.worker(1)
    assert (found.pid, found.starts, found.host_reads) == (os.getpid(), 3, 3)
    assert found.cells == {counters.digest("web@7"): 3}
    assert {name: times.count for name, times in found.files.items() if times.count} == {"proc/stat": 6}
    assert 5_000_000 <= found.files["proc/stat"].max_nsec <= found.files["proc/stat"].sum_nsec
    assert table.worker(0).files["proc/stat"] == Times()


def test_more_containers_than_cells(table: Table) -> None:
    """When all cells are taken the worker begins anew, and no container inherits another's count."""
    row = table.row(0)
    cells = [row.cell("a")]
    row.words[counters.CELLS_USED] = counters.CELLS - 2
    cells += [row.cell("b"), row.cell("c"), row.cell("b")]
    assert cells == [1, counters.CELLS - 1, -1, counters.CELLS - 1]
    row.read(0, row.cell("a"))
    row.forget()
    assert row.cell("c") == 1
    assert table.worker(0).cells == {counters.digest("c"): 0}


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=50), st.floats(0, 1))
def test_quantiles_are_within_a_bucket(took_nsec: list[int], share: float) -> None:
    """A quantile is within its bucket: never more than twice the true one and a microsecond, never above the most."""
    descriptor = os.memfd_create("test")
    row, now = (table := Table(descriptor, 1)).row(0), time.monotonic_ns
    os.close(descriptor)
    for each in took_nsec:
        row.words[counters.BUSY_SINCE_NSEC] = now() - each
        row.read(0, 0)
    times = table.worker(0).files[NAMES[0]]
    assert times.count == len(took_nsec)
    assert 0 <= times.quantile_usec(share) <= times.max_nsec / 1000
    assert times.quantile_usec(share) <= times.quantile_usec(1)


def test_quantiles() -> None:
    """Half of the reads between 16 and 32 us and half above: the median is 32, the worst is the worst."""
    buckets = [0] * BUCKETS
    buckets[5], buckets[8] = 10, 10
    times = Times(tuple(buckets), 0, 200_000)
    assert (times.quantile_usec(0.5), times.quantile_usec(0.99), times.quantile_usec(1)) == (32, 200, 200)
    assert Times().quantile_usec(0.5) == 0


def test_every_handler_has_an_opcode() -> None:
    """What a worker is at is known by the name of its handler."""
    handlers = {name for name, each in vars(Operations).items() if hasattr(each, "__wrapped__")}
    without_libfuse = {"open", "read", "release"}
    assert handlers | without_libfuse == set(counters.OPCODES)
    assert not handlers & without_libfuse
    with pytest.raises(KeyError):
        boundary(lambda _self: None)

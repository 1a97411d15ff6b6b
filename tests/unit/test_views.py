"""The views: pure renderings, and golden hosts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup.api import CpuTime, HugePages, MemoryLevel
from lxcfs_py.cputime import Account, advance
from lxcfs_py.procfs import cpuinfo as cpuinfo_parser
from lxcfs_py.procfs import cpulist, mountinfo, pid_stat, proc_cgroup
from lxcfs_py.procfs import meminfo as meminfo_parser
from lxcfs_py.procfs import stat as stat_parser
from lxcfs_py.reader import visible
from lxcfs_py.served import BOUND
from lxcfs_py.views import cpuinfo, meminfo, stat, uptime

MIB = 1 << 20
HOST = {
    "MemTotal": 8192 * MIB, "MemFree": 4096 * MIB, "MemAvailable": 6000 * MIB, "SwapTotal": 1024 * MIB,
    "SwapFree": 1000 * MIB, "Hugepagesize": 2 * MIB, "HugePages_Total": 10, "HugePages_Free": 8,
}  # fmt: skip
SIZES = st.integers(0, 1 << 40)
LIMITS = st.none() | SIZES
LEVELS = st.builds(
    MemoryLevel,
    limit_bytes=LIMITS,
    usage_bytes=SIZES,
    swap_limit_bytes=LIMITS,
    memsw_limit_bytes=LIMITS,
    swap_usage_bytes=SIZES,
    stat=st.dictionaries(
        st.sampled_from(["anon", "file", "active_file", "inactive_file", "slab_reclaimable", "shmem"]), SIZES
    ),
)


def level(**values: Any) -> MemoryLevel:
    """Return a level with nothing but these."""
    fields: dict[str, Any] = {
        "limit_bytes": None, "usage_bytes": 0, "swap_limit_bytes": None, "memsw_limit_bytes": None,
        "swap_usage_bytes": 0, "stat": {},
    }  # fmt: skip
    return MemoryLevel(**{**fields, **values})


@given(st.lists(LEVELS, max_size=3).map(tuple))
def test_meminfo_makes_sense(levels: tuple[MemoryLevel, ...]) -> None:
    """Whatever the cgroups say: nothing negative, nothing above its total or the host's."""
    found = meminfo.values(HOST, levels, ())
    assert all(value >= 0 for value in found.values())
    assert found["MemTotal"] <= HOST["MemTotal"]
    assert found["SwapTotal"] <= HOST["SwapTotal"]
    assert found["SwapFree"] <= found["SwapTotal"]
    assert all(
        found[name] <= found["MemTotal"] for name in ("MemFree", "MemAvailable", "Cached", "AnonPages", "Slab")
    )


def test_meminfo_follows_the_tightest_level() -> None:
    """An ancestor's limit counts where the leaf has none, with the ancestor's usage."""
    leaf = level(usage_bytes=10 * MIB, stat={"file": 4 * MIB})
    parent = level(limit_bytes=100 * MIB, usage_bytes=60 * MIB, stat={"inactive_file": 20 * MIB})
    found = meminfo.values(HOST, (leaf, parent), ())
    assert (found["MemTotal"], found["MemFree"], found["MemAvailable"]) == (100 * MIB, 40 * MIB, 60 * MIB)
    assert found["Cached"] == 4 * MIB


def test_swap_on_v1_is_what_memsw_leaves() -> None:
    """v1 limits memory and swap together; v2 swap alone."""
    v1 = level(limit_bytes=100 * MIB, memsw_limit_bytes=150 * MIB, swap_usage_bytes=10 * MIB)
    assert meminfo.swap(HOST, (v1,)) == meminfo.Swap(50 * MIB, 40 * MIB)
    v2 = level(limit_bytes=100 * MIB, swap_limit_bytes=30 * MIB)
    assert meminfo.swap(HOST, (v2,)) == meminfo.Swap(30 * MIB, 30 * MIB)


def test_huge_pages_follow_their_limit() -> None:
    """HugePages_* count pages of the default size up to the limit."""
    found = meminfo.values(HOST, (level(),), (HugePages(2 * MIB, 8 * MIB, 2 * MIB),))
    assert (found["HugePages_Total"], found["HugePages_Free"]) == (4, 3)


@pytest.mark.parametrize(
    ("allowed", "quota", "count"), [(4, None, 4), (4, 1.5, 2), (4, 0.01, 1), (2, 8.0, 2), (4, 2.0, 2), (1, None, 1)]
)
def test_visible_cpus(allowed: int, quota: float | None, count: int) -> None:
    """A quota is rounded up to whole CPUs, within the cpuset."""
    assert visible(allowed, quota) == count


USES = st.lists(
    st.tuples(st.integers(0, 10**10), st.integers(0, 10**8), st.integers(0, 10**8), st.integers(1, 8)),
    min_size=1,
    max_size=30,
)


@given(USES)
def test_cpu_accounts(uses: list[tuple[int, int, int, int]]) -> None:
    """No counter goes back, no CPU is above 100 %, and no more is served than was used."""
    account, now, user, system = Account(0), 0, 0, 0
    for dt, more_user, more_system, n in uses:
        now, user, system = now + dt, user + more_user, system + more_system
        after = advance(account, now, CpuTime(user + system, user, system), n)
        dt_usec = (after.last_nsec - account.last_nsec) // 1000
        for at, times in enumerate(after.cpus):
            before = account.cpus[at] if at < len(account.cpus) else (0, 0, 0, 0)
            assert all(b >= a for a, b in zip(before, times, strict=True))
            assert sum(times) - sum(before) <= dt_usec + 3
        assert sum(after.total[:3]) + sum(after.pending) <= user + system
        assert min(after.pending) >= 0
        account = after


def test_stat_keeps_the_hosts_shape() -> None:
    """Names, order and columns are the host's; what is not the container's is 0."""
    columns = b" 1 2 3 4 5 6 7 8 9 10\n"
    host = b"cpu " + columns + b"cpu0" + columns + b"cpu1" + columns + b"intr 9 8 7\nctxt 5\nbtime 1000\n"
    account = Account(0, cpus=((10_000, 20_000, 30_000, 40_000), (50_000, 0, 0, 0)))
    text = stat.render(host, account, 1, 7)
    assert text == b"cpu  6 2 3 4 0 0 0 0 0 0\ncpu0 1 2 3 4 0 0 0 0 0 0\nintr 0 0 0\nctxt 0\nbtime 1007\n"


def test_cpuinfo_is_renumbered() -> None:
    """The CPUs of the cpuset are counted from 0; with all of them the text is the host's."""
    block = b"processor\t: %d\nsiblings\t: 4\ncore id\t\t: %d\nflags\t\t: fpu\n"
    host = b"\n".join(block % (n, n) for n in range(4)) + b"\n"
    text = cpuinfo.render(host, (2, 3))
    assert [b.processor for b in cpuinfo_parser.parse(text) if b.text] == [0, 1]
    assert text.count(b"siblings\t: 2") == 2
    assert cpuinfo.render(host, range(4)) == host


def test_uptime_is_cut_to_hundredths() -> None:
    """Never rounded up, never negative."""
    assert uptime.render(1_999_999_999, 1_239_999) == b"1.99 1.23\n"
    assert uptime.render(-5, -5) == b"0.00 0.00\n"


@given(st.binary())
def test_parsers_never_crash(data: bytes) -> None:
    """Odd text is no exception."""
    for parse in (proc_cgroup.parse, pid_stat.parse, cpulist.parse, mountinfo.parse, meminfo_parser.parse):
        parse(data)
    stat_parser.parse(data)
    cpuinfo_parser.parse(data)


def test_rewriting_with_the_same_values_changes_nothing() -> None:
    """A line that is written anew has the kernel's width, and all others stay; the lines may change meanwhile."""

    def same(text: bytes, _values: object) -> dict[str, int]:
        return meminfo_parser.parse(text)

    text = Path("/proc/meminfo").read_bytes()
    rewrite = meminfo_parser.Rewriter(meminfo.HOST, meminfo.OWN)
    for each in (text, b"MemTotal: x\n" + text, text + b"Odd: 5 kB\n", text):
        assert rewrite(each, partial(same, each)) == each


@given(st.integers(0, 4000))
def test_cut_files_never_crash(cut: int) -> None:
    """A kernel file that was cut off anywhere still renders."""
    account = Account(0, cpus=((0, 0, 0, 0),))
    stat.render(Path("/proc/stat").read_bytes()[:cut], account, 1, 0)
    cpuinfo.render(Path("/proc/cpuinfo").read_bytes()[:cut], (0,))
    text = Path("/proc/meminfo").read_bytes()[:cut]
    rewrite = meminfo_parser.Rewriter(meminfo.HOST, meminfo.OWN)
    known = dict.fromkeys(meminfo.OWN, 0) | meminfo_parser.parse(text)
    assert rewrite(text, lambda _: known).count(b"\n") == text.count(b"\n")
    rewrite(text, lambda host: meminfo.values(host, (level(limit_bytes=MIB),), ()))


def test_every_view_is_described() -> None:
    """docs/semantics.md has a section for every file and directory that is served, which names LXCFS too."""
    text = (Path(__file__).parents[2] / "docs/semantics.md").read_text()
    sections = [section.partition("\n") for section in text.split("\n## ")[1:]]
    described = {path: body for heading, _, body in sections for path in heading.split(", ")}
    assert set(BOUND) <= described.keys()
    assert {path for path in BOUND if "LXCFS" not in described[path]} == set()

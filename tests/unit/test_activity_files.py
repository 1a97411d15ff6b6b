"""swaps, diskstats, slabinfo and vmstat: what a container has used, in the host's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.api import DeviceUse
from lxcfs_py.cgroup.layout import Hierarchy
from lxcfs_py.cgroup.v1 import V1
from lxcfs_py.cgroup.v2 import V2
from lxcfs_py.files import Files
from lxcfs_py.procfs import vmstat as vmstat_parser
from lxcfs_py.views import VIEWS, diskstats, meminfo, slabinfo, swaps, vmstat

if TYPE_CHECKING:
    from pathlib import Path

SWAPS = (
    b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + b"/dev/sda2".ljust(40) + b"partition\t999\t\t0\t\t-2\n"
)
COUNTS = st.integers(0, 1 << 62)
DEVICES = st.sampled_from(["8:0", "8:1", "254:0", "9:9"])
USES = st.lists(st.builds(DeviceUse, DEVICES, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))


def disks(columns: int) -> bytes:
    """Return a diskstats with so many columns after the name."""
    rest = b" ".join(b"%d" % (n + 1) for n in range(columns))
    return b"   8       0 sda " + rest + b"\n   8       1 sda1 " + rest + b"\n 254       0 vda " + rest + b"\n"


def test_swaps() -> None:
    """One line of the kernel's widths with the host's priority, or the header alone."""
    used = swaps.render(SWAPS, meminfo.Swap(64 << 20, 60 << 20))
    header, line, end = used.split(b"\n")
    assert (header, end) == (SWAPS.split(b"\n")[0], b"")
    assert line == b"none                                    virtual\t\t65536\t\t4096\t\t-2"
    assert swaps.render(SWAPS, meminfo.Swap(0, 0)) == header + b"\n"
    wide = swaps.render(b"", meminfo.Swap(20_000_000 << 10, 0)).split(b"\n")
    assert wide == [header, b"none                                    virtual\t\t20000000\t20000000\t-1", b""]


def test_diskstats() -> None:
    """Lines are those of the devices that were used, with requests and sectors; the host's other columns are 0."""
    use = DeviceUse("254:0", 3, 4096, 5, 1024, 1, 512)
    idle = DeviceUse("8:0", 0, 0, 0, 0, 0, 0)
    text = diskstats.render(disks(17), [use, idle])
    assert text == b" 254       0 vda 3 0 8 0 5 0 2 0 0 0 0 1 0 1 0 0 0\n"
    assert diskstats.render(disks(11), [use]) == b" 254       0 vda 3 0 8 0 5 0 2 0 0 0 0\n"
    assert diskstats.render(disks(17), []) == b""


@given(USES, st.integers(0, 20), st.binary(max_size=200))
def test_diskstats_makes_sense(uses: list[DeviceUse], columns: int, garbage: bytes) -> None:
    """Each line is one of the host's, with as many columns, and nothing is negative."""
    host = disks(columns)
    known = {line.split()[2]: len(line.split()) for line in host.splitlines()}
    for line in diskstats.render(host, uses).splitlines():
        words = line.split()
        assert known[words[2]] == len(words)
        assert all(int(word) >= 0 for word in words[3:])
    diskstats.render(garbage, uses)


def test_slabinfo() -> None:
    """The cgroup's own text, or the host's header."""
    host = b"slabinfo - version: 2.1\n# name  <active_objs>\nkmalloc-64 1 2 3\n"
    assert slabinfo.render(host, b"") == b"slabinfo - version: 2.1\n# name  <active_objs>\n"
    assert slabinfo.render(host, b"slabinfo - own\n") == b"slabinfo - own\n"


@given(
    st.dictionaries(st.sampled_from(["pgfault", "pgscan", "anon", "nr_dirty", "odd"]), COUNTS),
    st.dictionaries(st.sampled_from([*vmstat.FROM_MEMINFO.values(), "Cached", "KernelStack"]), COUNTS),
    USES,
    COUNTS,
)
def test_vmstat_keeps_the_hosts_names(
    stat: dict[str, int], amounts: dict[str, int], uses: list[DeviceUse], kills: int
) -> None:
    """The names are the host's, in order; events are memory.stat's, the machine's thresholds stay, the rest is 0."""
    host = (
        b"nr_free_pages 9\nnr_dirty 9\nnr_dirty_threshold 7\npgpgin 9\npgfault 9\npgscan 9\nctxt -5\n\noom_kill 9\n"
    )
    found = vmstat.values(vmstat_parser.parse(host), amounts, stat, uses, kills)
    text = vmstat_parser.rewrite(host, found)
    shown = vmstat_parser.parse(text)
    assert list(shown) == [line.split()[0].decode() for line in host.splitlines() if line]
    assert shown["nr_free_pages"] == amounts.get("MemFree", 0) // 4096
    assert (shown["nr_dirty_threshold"], shown["ctxt"], shown["oom_kill"]) == (7, 0, kills)
    assert shown["pgfault"] == stat.get("pgfault", 0)
    assert shown["nr_dirty"] == amounts.get("Dirty", 0) // 4096
    assert shown["pgpgin"] == sum(use.read_bytes for use in uses) // 1024


@given(st.binary(max_size=300))
def test_parsers_never_crash(data: bytes) -> None:
    """Odd text is no exception, and nothing that comes of it is negative."""
    for counters in parse.devices(data).values():
        assert min(counters.values()) >= 0
    assert min(vmstat_parser.parse(data).values(), default=0) >= 0
    vmstat_parser.rewrite(data, {})
    swaps.render(data, meminfo.Swap(1 << 30, 0))
    slabinfo.render(data, b"")


def test_devices_on_both_versions(tmp_path: Path) -> None:
    """io.stat and blkio.throttle say the same of a device."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/io.stat").write_text(
        "8:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0 cost.usage=1\n9:9\n"
    )
    (tmp_path / "a/blkio.throttle.io_serviced_recursive").write_text(
        "8:0 Read 2\n8:0 Write 1\n8:0 Sync 3\n8:0 Discard 0\n8:0 Total 3\nTotal 3\n"
    )
    (tmp_path / "a/blkio.throttle.io_service_bytes_recursive").write_text("8:0 Read 4096\n8:0 Write 512\n")
    expected = (DeviceUse("8:0", 2, 4096, 1, 512, 0, 0),)
    assert V2(Files(), Hierarchy(2, str(tmp_path))).devices("/a") == expected
    assert V1(Files(), Hierarchy(1, str(tmp_path))).devices("/a") == expected


def test_paths_are_the_lists() -> None:
    """Each module reads the host's file of the path it is listed under."""
    assert {module.PATH for module in VIEWS.values()} == set(VIEWS)

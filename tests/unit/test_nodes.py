"""The directory of memory nodes: no more CPUs and memory in a node than the container has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import explain
from lxcfs_py.cgroup import parse
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.host import Host
from lxcfs_py.procfs import meminfo as meminfo_parser
from lxcfs_py.reader import Reader
from lxcfs_py.served import CPU, NODE
from lxcfs_py.views import meminfo, nodes, read

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
NAMES = ["MemTotal", "MemFree", "MemUsed", *nodes.USE, *meminfo.SUMS, *meminfo.UNKNOWN, "HugePages_Total", "Odd"]
AMOUNTS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 1 << 40))
MEMINFO = """\
Node {0} MemTotal:        1048576 kB
Node {0} MemFree:          524288 kB
Node {0} MemUsed:          524288 kB
Node {0} Active:           300000 kB
Node {0} Active(anon):     200000 kB
Node {0} Active(file):     100000 kB
Node {0} Mlocked:           15596 kB
Node {0} FilePages:        150000 kB
Node {0} AnonPages:        250000 kB
Node {0} Odd:                   5 kB
Node {0} HugePages_Total:     0
"""
HOST = "".join(
    f"{name + ':':<16}{kib:>8} kB\n"
    for name, kib in {
        "MemTotal": 2 << 20, "MemFree": 1 << 20, "MemAvailable": 1 << 20, "Cached": 300_000, "Active": 600_000,
        "Active(anon)": 400_000, "Active(file)": 200_000, "AnonPages": 500_000,
    }.items()
)  # fmt: skip


def host(at: Path, count: int, numa_stat: str) -> Reader:
    """Return a reader of a host of so many nodes of two CPUs, with a container that has 256 MiB and CPUs 1 and 2."""
    files = {
        "proc/self/mountinfo": "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "proc/meminfo": HOST,
        f"{CPU}/online": f"0-{2 * count - 1}\n",
        f"{NODE}/has_memory": f"0-{count - 1}\n" if count > 1 else "0\n",
        "cgroup/cgroup.controllers": "cpuset memory\n",
        "cgroup/box/cpuset.cpus.effective": "1-2\n",
        "cgroup/box/memory.max": f"{256 * MIB}\n",
        "cgroup/box/memory.current": f"{100 * MIB}\n",
        "cgroup/box/memory.stat": f"anon {60 * MIB}\nactive_anon {50 * MIB}\nfile {30 * MIB}\nactive_file {MIB}\n"
        "workingset_activate_file 9\n",
        **({"cgroup/box/memory.numa_stat": numa_stat} if numa_stat else {}),
    }
    for node in range(count):
        files |= {
            f"{NODE}/node{node}/meminfo": MEMINFO.format(node),
            f"{NODE}/node{node}/cpulist": f"{2 * node}-{2 * node + 1}\n",
            f"{NODE}/node{node}/cpumap": f"{3 << 2 * node:x}\n",
            f"{NODE}/node{node}/numastat": "numa_hit 106\nother_node 5\n",
            f"{NODE}/node{node}/vmstat": "nr_free_pages 131072\nnr_anon_pages 62500\nnr_file_pages 37500\n"
            "numa_hit 106\nworkingset_activate_file 7\nnr_memmap_pages 3\n",
            f"{NODE}/node{node}/distance": "10\n",
        }
    for name, text in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text)
    return Reader(Host(f"{at}/proc", f"{at}/sys", f"{at}/cgroup"))


BOX = Container("box", Cgroup({"": "/box"}))


def amounts(reader: Reader, node: int) -> dict[str, int]:
    """Return what the container reads in a node's meminfo, in MiB."""
    text = read(reader, BOX, f"{NODE}/node{node}/meminfo")
    return {name: value // MIB for name, value in nodes.parse(text).items()}


def test_one_node_has_what_the_container_has(tmp_path: Path) -> None:
    """On a host of one node its amounts are proc/meminfo's, in the kernel's form, and its counters vmstat's."""
    reader = host(tmp_path, 1, "")
    whole = meminfo_parser.parse(read(reader, BOX, meminfo.PATH))
    text = read(reader, BOX, f"{NODE}/node0/meminfo")
    found = nodes.parse(text)
    assert {name: found[name] for name in whole.keys() & found.keys()} == {
        name: whole[name] for name in whole.keys() & found.keys()
    }
    assert found["MemTotal"] == 256 * MIB
    assert found["MemUsed"] == found["MemTotal"] - found["MemFree"] == 100 * MIB
    assert (found["FilePages"], found["Mlocked"], found["Odd"]) == (30 * MIB, 0, 5 << 10)
    assert [len(line) for line in text.splitlines()] == [len(line) for line in MEMINFO.format(0).splitlines()]
    assert read(reader, BOX, f"{NODE}/node0/numastat") == b"numa_hit 0\nother_node 0\n"
    assert read(reader, BOX, f"{NODE}/node0/vmstat").split(b"\n") == [
        b"nr_free_pages 39936", b"nr_anon_pages 15360", b"nr_file_pages 7680", b"numa_hit 0",
        b"workingset_activate_file 9", b"nr_memmap_pages 3", b"",
    ]  # fmt: skip
    assert read(reader, BOX, f"{NODE}/node0/distance") == b"10\n"


def test_several_nodes_share_what_it_has(tmp_path: Path) -> None:
    """Of several nodes each has its part of memory.numa_stat; of the rest, the least of the whole and its own."""
    stat = (
        f"anon N0={20 * MIB} N1={40 * MIB}\nactive_anon N0={15 * MIB} N1={35 * MIB}\nworkingset_activate_file N1=4\n"
    )
    reader = host(tmp_path, 2, stat)
    first, second = amounts(reader, 0), amounts(reader, 1)
    assert (first["MemTotal"], first["MemFree"]) == (second["MemTotal"], second["MemFree"]) == (256, 156)
    assert (first["AnonPages"], second["AnonPages"]) == (20, 40)
    assert (first["FilePages"], second["Active(file)"]) == (30, 1)
    assert (first["Active"], second["Active"]) == (16, 36)
    assert read(reader, BOX, f"{NODE}/node1/vmstat").split(b"\n")[4] == b"workingset_activate_file 4"
    without = host(tmp_path / "old", 2, "")
    assert amounts(without, 0)["AnonPages"] == 60


def test_each_node_has_its_own_of_the_cpus(tmp_path: Path) -> None:
    """CPUs 1 and 2 of two nodes are CPU 0 of one and CPU 1 of the other."""
    reader = host(tmp_path, 2, "")
    texts = [read(reader, BOX, f"{NODE}/node{node}/{name}") for node in (0, 1) for name in ("cpulist", "cpumap")]
    assert texts == [b"0\n", b"1\n", b"1\n", b"2\n"]
    everywhere = Container("host", Cgroup({"": "/"}))
    assert read(reader, everywhere, f"{NODE}/node1/cpulist") == b"2-3\n"


@given(AMOUNTS, AMOUNTS, st.none() | AMOUNTS)
def test_no_line_is_above_the_whole(node: dict[str, int], own: dict[str, int], part: dict[str, int] | None) -> None:
    """Whatever the files say, no line is above proc/meminfo's, use is at most the total, and nothing is negative."""
    own.pop("MemUsed", None)  # which proc/meminfo has not
    found = nodes.lines(node, own, part)
    assert all(value <= own[name] for name, value in found.items() if name in own.keys() - {"FilePages"})
    assert min(found.values(), default=0) >= 0
    assert found.get("MemUsed", 0) <= found.get("MemTotal", found.get("MemUsed", 0))
    assert found.keys() <= {*node, "MemUsed"}


@given(st.binary(max_size=300))
def test_garbage_never_crashes(data: bytes) -> None:
    """Odd texts are rendered and parsed too."""
    nodes.render(data, dict.fromkeys(NAMES, 1 << 60) | nodes.parse(data))
    for name in nodes.CPUS:
        nodes.render_cpus(name, data, (1, 2))
    assert all(value >= 0 for each in parse.by_node(data).values() for value in each.values())


def test_explain(tmp_path: Path) -> None:
    """A node's lines are explained by the cgroup's files, and where the node has less, by its own."""
    host(tmp_path, 2, f"anon N0={20 * MIB} N1={40 * MIB}\n")
    recorder = explain.Recorder()
    reader = Reader(Host(f"{tmp_path}/proc", f"{tmp_path}/sys", f"{tmp_path}/cgroup"), recorder)
    found = {line.line: line for line in explain.explain(reader, recorder, f"{NODE}/node1/meminfo", BOX)}
    total, anon = found["Node 1 MemTotal"], found["Node 1 AnonPages"]
    assert (total.served, total.host, total.sources[0].path) == (
        "262144", "1048576", f"{tmp_path}/cgroup/box/memory.max",
    )  # fmt: skip
    assert {source.path.rpartition("/")[2] for source in anon.sources} == {"memory.stat", "memory.numa_stat"}
    assert all(line.formula for line in found.values())
    cpulist = explain.explain(reader, recorder, f"{NODE}/node1/cpulist", BOX)[0]
    assert (cpulist.line, cpulist.served, cpulist.host) == ("cpulist", "1", "2-3")

"""`explain`: each line beside the host's, with its rule and sources."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import explain
from lxcfs_py.container import by_cgroup, of
from lxcfs_py.host import Host
from lxcfs_py.reader import Reader
from lxcfs_py.registry import Registration
from lxcfs_py.views import VIEWS, loadavg
from tests.hosts import HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lxcfs_py.rule import Rule

MIB = 1 << 20
V2 = {
    "proc/self/mountinfo": "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "proc/meminfo": "MemTotal:        1048576 kB\nMemFree:          524288 kB\nMemAvailable:     786432 kB\n"
    "AnonPages:        131072 kB\nKernelStack:        2048 kB\nVmallocTotal:      99999 kB\n"
    "SwapTotal:             0 kB\n",
    "proc/cpuinfo": "".join(f"processor\t: {cpu}\nflags\t\t: fpu\n\n" for cpu in range(4)),
    "proc/stat": "cpu  1 2 3 4 5 6 7 8 9 10\nintr 5 6 7\nbtime 1000\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "cgroup/cgroup.controllers": "cpu cpuset memory\n",
    "cgroup/pod/memory.max": f"{256 * MIB}\n",
    "cgroup/pod/memory.current": f"{200 * MIB}\n",
    "cgroup/pod/memory.stat": f"anon {100 * MIB}\ninactive_file {20 * MIB}\n",
    "cgroup/pod/cpuset.cpus.effective": "1-3\n",
    "cgroup/pod/cpu.max": "max 100000\n",
    "cgroup/pod/leaf/memory.max": f"{512 * MIB}\n",
    "cgroup/pod/leaf/memory.current": f"{150 * MIB}\n",
    "cgroup/pod/leaf/memory.stat": f"anon {90 * MIB}\ninactive_file {10 * MIB}\n",
    "cgroup/pod/leaf/cpu.max": "150000 100000\n",
    "cgroup/pod/leaf/cpuset.cpus.effective": "1-3\n",
    "cgroup/pod/leaf/cpu.stat": "usage_usec 3000000\nuser_usec 2000000\nsystem_usec 1000000\n",
}
V1 = {
    **{path: text for path, text in V2.items() if not path.startswith("cgroup/")},
    "proc/self/mountinfo": "1 0 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    "cgroup/memory/pod/memory.limit_in_bytes": f"{256 * MIB}\n",
    "cgroup/memory/pod/memory.usage_in_bytes": f"{100 * MIB}\n",
    "cgroup/memory/pod/memory.stat": "anon 1\nrss 2\ntotal_rss 4096\n",
}
"""What v1 calls `rss` is the leaf's alone, `total_rss` the one that counts."""
Lines = dict[str, explain.Line]


def said(at: Path, files: Mapping[str, str], cgroup: str, path: str) -> Lines:
    """Return the explanation of one file of a host that has these files."""
    for name, text in files.items():
        file = at / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    recorder = explain.Recorder()
    reader = Reader(Host(f"{at}/proc", f"{at}/sys", f"{at}/cgroup", f"{at}/run"), recorder)
    container = by_cgroup(cgroup, tuple(reader.cgroups.layout.hierarchies))
    return {line.line: line for line in explain.explain(reader, recorder, path, container)}


def sources(at: Path, line: explain.Line) -> list[str]:
    """Return the sources as short words, relative to the host's root."""
    return [f"{s.path.removeprefix(f'{at}/')} {s.key}={s.value}" for s in line.sources]


def test_each_line_beside_the_hosts(tmp_path: Path) -> None:
    """A line says what is served, what the host has, and the unit of both."""
    found = said(tmp_path, V2, "/pod/leaf", "proc/meminfo")
    assert list(found) == [line.split(":")[0] for line in V2["proc/meminfo"].splitlines()]
    assert (found["MemTotal"].served, found["MemTotal"].host, found["MemTotal"].unit) == ("262144", "1048576", "kB")
    assert (found["VmallocTotal"].served, found["VmallocTotal"].formula) == ("99999", "the host's")
    assert sources(tmp_path, found["VmallocTotal"]) == ["proc/meminfo VmallocTotal=99999 kB"]


def test_the_level_that_decided(tmp_path: Path) -> None:
    """Of several levels the one whose limit counts is named, with what it holds; for use it is the leaf."""
    found = said(tmp_path, V2, "/pod/leaf", "proc/meminfo")
    limit = f"cgroup/pod/memory.max ={256 * MIB}"
    assert sources(tmp_path, found["MemTotal"]) == [limit]
    assert sources(tmp_path, found["MemFree"]) == [limit, f"cgroup/pod/memory.current ={200 * MIB}"]
    assert sources(tmp_path, found["MemAvailable"])[-1] == f"cgroup/pod/memory.stat inactive_file={20 * MIB}"
    assert sources(tmp_path, found["AnonPages"]) == [f"cgroup/pod/leaf/memory.stat anon={90 * MIB}"]


def test_levels_that_say_the_same(tmp_path: Path) -> None:
    """Where two levels have the same limit both are named."""
    found = said(tmp_path, {**V2, "cgroup/pod/leaf/memory.max": f"{256 * MIB}\n"}, "/pod/leaf", "proc/meminfo")
    assert len(found["MemTotal"].sources) == 2


def test_the_host_decides_where_nothing_is_limited(tmp_path: Path) -> None:
    """Without a limit the host's own line is the source; so is it where the host has less."""
    free = {path: "max\n" if path.endswith("memory.max") else text for path, text in V2.items()}
    found = said(tmp_path, free, "/pod/leaf", "proc/meminfo")
    assert sources(tmp_path, found["MemTotal"]) == ["proc/meminfo MemTotal=1048576 kB"]
    assert sources(tmp_path, found["SwapTotal"]) == ["proc/meminfo SwapTotal=0 kB"]


def test_v1_by_its_own_names(tmp_path: Path) -> None:
    """On v1 the files and keys are v1's, and what it does not account for is said to be so."""
    found = said(tmp_path, V1, "/pod", "proc/meminfo")
    assert sources(tmp_path, found["MemTotal"]) == [f"cgroup/memory/pod/memory.limit_in_bytes ={256 * MIB}"]
    assert sources(tmp_path, found["AnonPages"]) == ["cgroup/memory/pod/memory.stat total_rss=4096"]
    assert (found["KernelStack"].served, found["KernelStack"].sources) == ("0", ())
    assert found["KernelStack"].formula.endswith(explain.UNKNOWN)


def test_which_cpus(tmp_path: Path) -> None:
    """cpuinfo says how many CPUs there are, why, and which of the host's they are."""
    found = said(tmp_path, V2, "/pod/leaf", "proc/cpuinfo")
    assert (found["processors"].served, found["processors"].host) == ("2", "4")
    assert sources(tmp_path, found["processors"]) == ["cgroup/pod/leaf/cpu.max =150000 100000"]
    assert [(found[f"processor {at}"].served, found[f"processor {at}"].host) for at in (0, 1)] == [
        ("0", "1"),
        ("1", "2"),
    ]
    assert sources(tmp_path, found["processor 0"])[:1] == ["cgroup/pod/leaf/cpuset.cpus.effective =1-3"]


def test_cpu_time(tmp_path: Path) -> None:
    """stat is told column by column."""
    found = said(tmp_path, V2, "/pod/leaf", "proc/stat")
    assert (found["cpu user"].served, found["cpu system"].served, found["cpu user"].host) == ("200", "100", "1")
    assert sources(tmp_path, found["cpu1 system"])[0] == "cgroup/pod/leaf/cpu.stat usage_usec=3000000"
    assert (found["intr"].served, found["intr"].host) == ("0 0 0", "5 6 7")


@pytest.mark.parametrize(
    "registration", sorted(HOSTS.glob("*/containers/*.json")), ids=lambda path: f"{path.parts[-3]}-{path.stem}"
)
def test_golden_hosts(registration: Path) -> None:
    """On every captured host each line is the one that is served, and each source is what its file holds."""
    tree, recorder = registration.parents[1], explain.Recorder()
    reader = Reader(Host(f"{tree}/proc", f"{tree}/sys", f"{tree}/cgroup"), recorder)
    container = of(reader.host, recorder, Registration(**json.loads(registration.read_text())))
    lines = explain.explain(reader, recorder, "proc/meminfo", container)
    expected = (tree / "expected" / registration.stem / "proc/meminfo").read_text().splitlines()
    assert [f"{line.line}: {line.served}" for line in lines] == [
        f"{words[0]} {words[1]}" for words in (row.split() for row in expected)
    ]
    for line in lines:
        assert line.formula
        assert all(explain.value(Path(s.path).read_bytes(), s.key) == s.value for s in line.sources)
        assert line.sources or line.served == "0"


CLOCKLESS = ("diskstats", "slabinfo", "swaps", "vmstat")


@pytest.mark.parametrize(
    "path",
    sorted(path for path in HOSTS.glob("*/expected/*/proc/*") if path.name in CLOCKLESS),
    ids=lambda path: str(path.relative_to(HOSTS)),
)
def test_the_other_files_of_golden_hosts(path: Path) -> None:
    """Of every file that needs no clock the lines are those that are served, with formulas and true sources."""
    host, _, id_, *rest = path.relative_to(HOSTS).parts
    tree, recorder, name = HOSTS / host, explain.Recorder(), "/".join(rest)
    reader = Reader(Host(f"{tree}/proc", f"{tree}/sys", f"{tree}/cgroup"), recorder)
    registration = Registration(**json.loads((tree / f"containers/{id_}.json").read_text()))
    lines = explain.explain(reader, recorder, name, of(reader.host, recorder, registration))
    expected = getattr(VIEWS[name], "rows", explain.rows)(path.read_bytes(), ())
    assert {line.line: line.served for line in lines} == expected
    for line in lines:
        assert line.formula
        assert all(explain.value(Path(s.path).read_bytes(), s.key) == s.value for s in line.sources)
        assert line.sources or line.served in ("0", "none", "virtual")


OTHERS = {
    **V2,
    "cgroup/cgroup.controllers": "cpu cpuset io memory\n",
    "cgroup/pod/leaf/io.stat": "8:0 rbytes=4096 wbytes=0 rios=2 wios=0 dbytes=0 dios=0\n",
    "cgroup/pod/leaf/cpu.pressure": "some avg10=1.00\nfull avg10=0.00\n",
    "cgroup/pod/leaf/pids.current": "3\n",
    "cgroup/pod/leaf/cgroup.threads": "5\n6\n7\n",
    "cgroup/pod/leaf/memory.swap.max": "4096\n",
    "cgroup/pod/leaf/memory.swap.current": "1024\n",
    "proc/meminfo": V2["proc/meminfo"].replace("SwapTotal:             0", "SwapTotal:            20"),
    "proc/diskstats": "   8       0 sda 9 9 9 9 9 9 9 9 9 9 9\n   8      16 sdb 1 2 3 4 5 6 7 8 9 10 11\n",
    "proc/loadavg": "9.00 8.00 7.00 6/500 4321\n",
    "proc/pressure/cpu": "some avg10=9.00\nfull avg10=9.00\n",
    "proc/slabinfo": "slabinfo - version: 2.1\n# name\ndentry 1 2\n",
    "proc/swaps": "Filename Type Size Used Priority\n/dev/a partition 10 0 -2\n/dev/b partition 10 4 -3\n",
    "proc/vmstat": "nr_free_pages 9\nnr_odd 9\npgfault 9\npgscan 9\npgpgin 9\nnr_memmap_pages 8\n",
}


@pytest.mark.parametrize(
    ("path", "line", "served", "host", "source"),
    [
        ("loadavg", "1 minute", "0.00", "9.00", "leaf/cgroup.threads =None"),
        ("loadavg", "running", "0", "6", "leaf/cgroup.threads =None"),
        ("loadavg", "total", "3", "500", "leaf/pids.current =3"),
        ("loadavg", "last pid", "4321", "4321", None),
        ("swaps", "Size", "4", "20", "leaf/memory.swap.max =4096"),
        ("swaps", "Priority", "-2", "-2", "swaps =None"),
        ("diskstats", "sda reads", "2", "9", "leaf/io.stat =8:0 rbytes=4096 wbytes=0 rios=2 wios=0 dbytes=0 dios=0"),
        ("diskstats", "sda sectors read", "8", "9", None),
        ("diskstats", "sda reads merged", "0", "9", None),
        ("slabinfo", "slabinfo - version", "2.1", "2.1", None),
        ("vmstat", "nr_free_pages", "14336", "9", "pod/memory.max =268435456"),
        ("vmstat", "pgscan", "7", "9", "leaf/memory.stat pgscan=7"),
        ("vmstat", "pgpgin", "4", "9", None),
        ("vmstat", "nr_odd", "0", "9", None),
        ("vmstat", "nr_memmap_pages", "8", "8", "vmstat nr_memmap_pages=8"),
        ("pressure/cpu", "some", "avg10=1.00", "avg10=9.00", "leaf/cpu.pressure some=avg10=1.00"),
    ],
)
def test_lines(tmp_path: Path, path: str, line: str, served: str, host: str, source: str | None) -> None:
    """A line of each other file says what is served, what the host has, and where it came from."""
    stat = V2["cgroup/pod/leaf/memory.stat"] + "pgscan 7\npgfault 5\n"
    found = said(tmp_path, {**OTHERS, "cgroup/pod/leaf/memory.stat": stat}, "/pod/leaf", f"proc/{path}")[line]
    assert (found.served, found.host) == (served, host)
    assert found.formula
    if source:
        assert any(each.endswith(source) for each in sources(tmp_path, found)), sources(tmp_path, found)


def test_what_is_sampled_is_not_said_to_be_unknown(tmp_path: Path) -> None:
    """Where no cgroup file was read, an average of the daemon's samples still has its formula alone."""
    found = said(tmp_path, V2 | {"proc/loadavg": OTHERS["proc/loadavg"]}, "/pod/leaf", "proc/loadavg")
    assert found["1 minute"].formula == loadavg.LINES["1 minute"].formula


def test_a_view_without_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose lines have no rules is told by lines, with all that was read for it."""

    def read(reader: Reader, _: object) -> bytes:
        reader.files.read(f"{reader.host.cgroup}/pod/memory.current")
        return b"some avg10=0.00\nfull avg10=1.00\n0.00 1/2\n   8       0 sda 1 2\n"

    path = "proc/new"
    monkeypatch.setitem(VIEWS, path, SimpleNamespace(PATH=path, read=read))
    found = said(tmp_path, {**V2, path: "some avg10=9.00\n"}, "/pod", path)
    assert [(line.line, line.served) for line in found.values()] == [
        ("some", "avg10=0.00"), ("full", "avg10=1.00"), ("line 3", "0.00 1/2"), ("8       0 sda", "1 2"),
    ]  # fmt: skip
    assert (found["some"].host, found["full"].host) == ("avg10=9.00", None)
    assert sources(tmp_path, found["full"]) == [f"cgroup/pod/memory.current ={200 * MIB}"]


@given(st.binary())
def test_any_text_has_rows(data: bytes) -> None:
    """Odd texts are taken apart too, by every view."""
    for rows in (explain.rows, *(view.rows for view in VIEWS.values() if hasattr(view, "rows"))):
        assert all(isinstance(value, str) for value in rows(data, (0,)).values())
    explain.value(data, "anon")
    explain.value(data, "starttime")


def test_plain_and_table(tmp_path: Path) -> None:
    """JSON has numbers as numbers; the table fits a terminal but for paths."""
    lines = tuple(said(tmp_path, V2, "/pod/leaf", "proc/meminfo").values())
    first = explain.plain(lines)[0]
    assert (first["line"], first["served"], first["host"], first["unit"]) == ("MemTotal", 262144, 1048576, "kB")
    assert first["sources"] == [{"path": f"{tmp_path}/cgroup/pod/memory.max", "key": "", "value": 256 * MIB}]
    table = explain.table(lines, 72).splitlines()
    assert table[1].split() == ["MemTotal", "262144", "1048576", "kB"]
    assert all(len(row) <= 72 for row in table if not row.startswith("    /"))


def _cell(specs: Iterable[str]) -> str:
    found = []
    for file, each in itertools.groupby(specs, lambda spec: spec.partition(":")[0]):
        keys = [spec.partition(":")[2] for spec in each]
        found.append(f"`{file}`" + {"": "", "LINE": ", the same line"}.get(keys[0], f" {', '.join(keys)}"))
    return "; ".join(found)


def markdown(lines: Mapping[str, Rule]) -> str:
    """Return the rules as docs/semantics.md has them: a row each, the lines of one rule together."""
    rules: dict[Rule, list[str]] = {}
    for name, rule in lines.items():
        rules.setdefault(rule, []).append(name.replace("*", "\\*"))
    rows = ["| line | says | v2 | v1 |", "|---|---|---|---|"]
    for rule, names in rules.items():
        v1 = (*rule.v1, *rule.host)
        cells = (", ".join(names), rule.formula, _cell((*rule.v2, *rule.host)), _cell(v1) or ("0" if rule.v2 else ""))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("view", [view for view in VIEWS.values() if hasattr(view, "LINES")])
def test_the_documentation_has_the_rules(view: Any) -> None:
    """docs/semantics.md has the table of the rules that `explain` prints, word by word."""
    text = (Path(__file__).parents[2] / "docs/semantics.md").read_text()
    assert markdown(view.LINES) in text

"""Load averages: the arithmetic, the table, and the sampler on a made-up host."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxcfs_py import registry
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.daemon.sampler import BURST_SECONDS, LOOK_ROUNDS, SHARE, Budget, Sampler
from lxcfs_py.host import Host
from lxcfs_py.loads import ASKED, EVERY_NSEC, EXPONENTS, FIXED_1, PLACES, REGISTERED, Load, Loads, advance, of_daemon
from lxcfs_py.views import loadavg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTES = (1, 5, 15)


@pytest.fixture
def loads() -> Iterator[Loads]:
    """Yield an empty table."""
    descriptor = os.memfd_create("test")
    yield Loads(descriptor)
    os.close(descriptor)


def container(key: str, **paths: str) -> Container:
    """Return a container with these cgroup paths."""
    return Container(key, Cgroup(paths), 7)


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 30)), min_size=1, max_size=20))
def test_averages_are_the_exponential_ones(samples: list[tuple[int, int]]) -> None:
    """The averages follow avg' = avg x e + active x (1 - e), with the kernel's e, but for what a step rounds."""
    load, exact, most = Load(0), [0.0, 0.0, 0.0], 0
    for active, steps in samples:
        load = advance(load, load.sampled_nsec + steps * EVERY_NSEC, active)
        most = max(most, active)
        for at, exponent in enumerate(EXPONENTS):
            share = (exponent / FIXED_1) ** steps
            exact[at] = exact[at] * share + active * (1 - share)
    for fixed, real in zip(load.averages, exact, strict=True):
        assert 0 <= fixed <= most * FIXED_1
        assert fixed / FIXED_1 == pytest.approx(real, abs=0.1)  # at most 1/2048 a step, of which 11/2048 fade


def test_the_exponents_are_the_kernels() -> None:
    """They are exp(-5 s / T) in 1/2048, rounded."""
    assert [round(FIXED_1 * math.exp(-5 / (60 * minutes))) for minutes in MINUTES] == list(EXPONENTS)


def test_averages_reach_what_is_active() -> None:
    """Two busy tasks for an hour and a half are a load of 2.00, and none for as long again of 0.00."""
    busy = advance(Load(0), 5400 * 10**9, 2)
    assert loadavg.render(busy, 3, 9) == b"2.00 2.00 2.00 0/3 9\n"
    assert loadavg.render(advance(busy, 2 * 5400 * 10**9, 0), 3, 9).startswith(b"0.00 0.00 0.0")


@given(st.integers(0, 100), st.integers(0, 60), st.integers(-2_400_000_000, 2_400_000_000))
def test_a_late_sample_counts_for_the_missed(active: int, steps: int, jitter_nsec: int) -> None:
    """One sample after n periods, less than half a period early or late, is as n samples in time."""
    late = advance(Load(0), max(0, steps * EVERY_NSEC + jitter_nsec), active)
    load = Load(0)
    for _ in range(steps):
        load = advance(load, load.sampled_nsec + EVERY_NSEC, active)
    assert late == load


@given(st.builds(Load, *[st.integers()] * 1, st.tuples(*[st.integers()] * 3), *[st.integers()] * 3), st.integers())
def test_no_odd_numbers_are_shown(load: Load, total: int) -> None:
    """Whatever is in the table: five fields, nothing negative, no more running than there are."""
    one, five, fifteen, tasks, last = loadavg.render(load, total, load.last_pid).split()
    running, _, all_ = tasks.partition(b"/")
    assert min(float(one), float(five), float(fifteen), int(running), int(last)) >= 0
    assert int(running) <= int(all_)


def test_the_table_keeps_containers_apart(loads: Loads) -> None:
    """Each container has a place of its own, the same when asked again, with its cgroups."""
    places = {loads.add(container(f"c{n}", pids=f"/{n}")) for n in range(500)}
    assert len(places) == 500
    assert sorted(loads.places()) == sorted(places)
    assert {loads.entry(place).container.cgroup.paths["pids"] for place in places} == {f"/{n}" for n in range(500)}
    place = loads.add(container("c7", pids="/7"))
    assert place in places
    loads.store(place, Load(5, (1, 2, 3), 4, 5, 6))
    assert loads.load(container("c7", pids="/7")) == Load(5, (1, 2, 3), 4, 5, 6)
    loads.remove(place)
    assert place not in loads.places()


def test_a_full_table_says_zero(loads: Loads) -> None:
    """A container that there is no room for, or whose paths are too long, has a load of 0; nothing raises."""
    for n in range(PLACES * 2):
        loads.add(container(f"c{n}"))
    assert len(loads.places()) <= PLACES
    found = [loads.load(container(f"c{n}")).averages for n in range(PLACES * 2)]
    assert set(found) == {(0, 0, 0)}
    assert loads.load(container("long", pids="/" + "x" * 4000)) == Load(0)


def test_asked_and_registered(loads: Loads) -> None:
    """A container that was only asked about is known to be unread since then; a registered one stays."""
    place = loads.add(container("a"), ASKED)
    assert loads.unread_nsec(place, 1 << 62) > 0
    assert loads.add(container("a"), REGISTERED) == place
    assert loads.unread_nsec(place, 1 << 62) == 0


class Machine:
    """A host with cgroup2 and one container of three tasks."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.host = Host(str(base / "proc"), str(base / "sys"), str(base / "cgroup"), str(base / "run"))
        self.cgroup = base / "cgroup/box"
        for path in (base / "proc/self", self.cgroup / "below"):
            path.mkdir(parents=True)
        (base / "proc/self/mountinfo").write_text("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
        (base / "cgroup/cgroup.controllers").write_text("cpu io memory pids\n")
        (self.cgroup / "cgroup.threads").write_text("100\n101\n")
        (self.cgroup / "below/cgroup.threads").write_text("102\n")
        self.ran(1)
        for thread in (100, 101, 102):
            self.task(thread, "S")
        start = registry.Registration("box", 100, 5, {"": "/box"})
        registry.register(self.host, start)

    def ran(self, usec: int) -> None:
        """Say how long tasks have run."""
        (self.cgroup / "cpu.stat").write_text(f"usage_usec {usec}\nuser_usec 0\nsystem_usec 0\n")

    def task(self, thread: int, state: str) -> None:
        """Write a task's files."""
        line = f"{thread} (od) d) R) {state} 1 " + "0 " * 17 + "5 0\n"
        at = self.base / f"proc/{thread}/task/{thread}"
        at.mkdir(parents=True, exist_ok=True)
        for path in (at, self.base / f"proc/{thread}"):
            (path / "stat").write_text(line)
        (self.base / f"proc/{thread}/status").write_text(f"Name:\tx\nNSpid:\t{thread}\t{thread - 99}\n")


def test_the_sampler_counts(tmp_path: Path, loads: Loads) -> None:
    """Running and uninterruptible tasks count, of the cgroups below too; the last pid is the container's own."""
    machine = Machine(tmp_path)
    machine.task(101, "R")
    machine.task(102, "D")
    sampler = Sampler(machine.host, loads)
    list(sampler.round())
    (place,) = loads.places()
    load = loads.at(place)
    assert (load.running, load.total, load.last_pid) == (1, 3, 3)
    loads.store(place, load._replace(sampled_nsec=load.sampled_nsec - 12 * EVERY_NSEC))
    list(sampler.round())
    assert loads.at(place).averages[0] / FIXED_1 == pytest.approx(2 * (1 - math.exp(-1)), abs=0.01)


def test_the_sampler_skips_who_has_not_run(tmp_path: Path, loads: Loads) -> None:
    """Tasks are looked at again when one of them has run, and now and then otherwise."""
    machine = Machine(tmp_path)
    sampler = Sampler(machine.host, loads)
    list(sampler.round())
    (place,) = loads.places()
    machine.task(101, "R")
    seen = []
    for _ in range(LOOK_ROUNDS):
        list(sampler.round())
        seen.append(loads.at(place).running)
    assert (seen[0], seen[-1]) in {(0, 1), (1, 1)}
    assert seen == sorted(seen)
    machine.task(101, "S")
    machine.ran(2)
    list(sampler.round())
    assert loads.at(place).running == 0


def test_the_sampler_forgets(tmp_path: Path, loads: Loads) -> None:
    """A container is gone with its registration, one that was asked about with its cgroup; a new one is another."""
    machine = Machine(tmp_path)
    sampler = Sampler(machine.host, loads)
    asked = loads.add(container("asked", **{"": "/nowhere"}))
    list(sampler.round())
    assert asked not in loads.places()
    registry.register(machine.host, registry.Registration("box", 100, 5, {"": "/box"}))
    (place,) = loads.places()
    list(sampler.round())
    assert loads.places() == [place]
    registry.unregister(machine.host, "box", 100, 5)
    list(sampler.round())
    assert loads.places() == []


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300))
def test_the_sampler_survives(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever kernel files and registrations contain, a round ends."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    for path in ("cgroup/box/cgroup.threads", "cgroup/box/cpu.stat", "proc/101/task/101/stat", "proc/102/status"):
        (machine.base / path).write_bytes(data)
    (machine.base / "run/lxcfs-py/containers/odd.json").write_bytes(data)
    descriptor = os.memfd_create("test")
    try:
        table = Loads(descriptor)
        list(Sampler(machine.host, table).round())
        assert all(table.at(place).total >= table.at(place).running >= 0 for place in table.places())
    finally:
        os.close(descriptor)


def test_without_a_daemon(tmp_path: Path) -> None:
    """Where no daemon samples, or its announcement is garbage, a load is 0."""
    host = Host(run=str(tmp_path))
    assert of_daemon(host).load(container("a")) == Load(0)
    (tmp_path / "lxcfs-py").mkdir()
    (tmp_path / "lxcfs-py/daemon.json").write_text('{"pid": 1, "start_ticks": -1}')
    assert of_daemon(host).load(container("a")) == Load(0)


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 2)), max_size=50))
def test_sampling_stays_within_its_budget(uses: list[tuple[float, float]]) -> None:
    """Whatever a round takes, no more CPU time is used than the share of the time that passes, and one burst."""
    now, used = 100.0, 0.0
    budget = Budget(now)
    for idle, spent in uses:
        now, used = now + idle + spent, used + spent
        now += budget.rest(now, spent)
        assert used <= (now - 100) * SHARE + BURST_SECONDS + 1e-6


def test_looking_for_containers_takes_no_memory() -> None:
    """An empty table occupies a few pages, however often it is looked through."""
    descriptor = os.memfd_create("test")
    try:
        table = Loads(descriptor)
        table.add(container("a"))
        assert len(table.places()) == 1
        assert os.fstat(descriptor).st_blocks * 512 <= 8 * os.sysconf("SC_PAGESIZE")
    finally:
        os.close(descriptor)

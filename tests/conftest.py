"""Lanes (see ``tests.lanes``), no silent skips, and nothing left behind by live tests."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import lanes, leaks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

LANE, FEATURES = lanes.current()
settings.register_profile("lxcfs-py", deadline=None)  # a busy machine is no failure
settings.load_profile("lxcfs-py")
LACKING = pytest.StashKey[collections.Counter[str]]()
SHOWN = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --beyond."""
    parser.addoption(
        "--beyond",
        choices=("here", *lanes.GUESTS),
        help="leave out the tests marked anywhere; for a guest also what it can run, but for those marked per_kernel",
    )


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is below tests/{live,systemd,engines} as live, and deselect what the lane can't run."""
    lacking: list[tuple[pytest.Item, str]] = []
    shown: list[pytest.Item] = []
    beyond = config.getoption("beyond")
    for item in items:
        if {"engines", "live", "systemd"} & set(item.path.relative_to(config.rootpath).parts):
            item.add_marker("live")
        needs = [(mark.name, mark.args) for mark in item.iter_markers() if mark.name.startswith("needs_")]
        if need := lanes.lacks(FEATURES, needs):
            lacking.append((item, need))
        elif beyond and _shown(item, beyond, needs):
            shown.append(item)
    if dropped := {item for item, _ in lacking} | set(shown):
        items[:] = [item for item in items if item not in dropped]
        config.hook.pytest_deselected(items=list(dropped))
    config.stash[LACKING] = collections.Counter(need for _, need in lacking)
    config.stash[SHOWN] = len(shown)


def _shown(item: pytest.Item, beyond: str, needs: list[tuple[str, tuple[int, ...]]]) -> bool:
    """Tell whether another lane shows what a test would show on this one; here may be neither of ``lanes.APART``."""
    if item.get_closest_marker("anywhere"):
        return lanes.APART.isdisjoint(name for name, _ in needs)
    return (
        beyond != "here"
        and not lanes.lacks(lanes.GUESTS[beyond], needs)
        and not item.get_closest_marker("per_kernel")
    )


def pytest_report_header() -> str:
    """Name the lane."""
    return f"lane: {LANE} {FEATURES}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, and why."""
    for need, count in sorted(config.stash.get(LACKING, collections.Counter()).items()):
        terminalreporter.write_line(f"lane {LANE}: {count} deselected, it has no {need.removeprefix('needs_')}")
    if shown := config.stash.get(SHOWN, 0):
        terminalreporter.write_line(
            f"lane {LANE}: {shown} deselected, lane {config.getoption('beyond')} can run them"
        )


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{why}\na test may not skip: what a lane lacks by nature is said by a needs_* marker"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that skips: it would look like evidence."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that skips itself."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(scope="session")
def lane() -> str:
    """Return where this runs: ``here``, ``qemu`` or ``uml``."""
    return LANE


@pytest.fixture(scope="session")
def time_scale() -> float:
    """Return the factor for every limit on time: 1 here, more where Python is slow."""
    return FEATURES.time_scale


@pytest.fixture(scope="session", autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Live tests leave the machine as they found it: mounts, cgroups, processes, loop devices, our files."""
    if not any(item.get_closest_marker("live") for item in request.session.items):
        yield
        return
    before = leaks.snapshot()
    yield
    deadline = time.monotonic() + 5 * FEATURES.time_scale  # what was told to end may still be ending
    while (left := leaks.left(before, leaks.snapshot())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, "the live tests left behind:\n" + "\n".join(left)

"""The lanes' own rules, and what counts as left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests import leaks
from tests.lanes import GUESTS, Lane, here, lacks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("lane", "needs", "lacking"),
    [
        ("qemu", [("needs_cpus", (4,)), ("needs_psi", ()), ("needs_timens", ()), ("needs_cpuset", ())], ""),
        ("qemu", [("needs_cpus", (5,))], "needs_cpus(5)"),
        ("uml", [("needs_cpus", (1,))], ""),
        ("uml", [("needs_cpus", (2,))], "needs_cpus(2)"),
        ("uml", [("needs_cpuset", ())], "needs_cpuset"),
        ("uml", [], ""),
    ],
)
def test_lacks(lane: str, needs: list[tuple[str, tuple[int, ...]]], lacking: str) -> None:
    """A lane runs what it promises to have, and names the first thing it lacks."""
    assert lacks(GUESTS[lane], needs) == lacking


def test_here_is_judged_by_this_machine() -> None:
    """This machine's features are found, with limits on time as they are written."""
    lane = here()
    assert isinstance(lane, Lane)
    assert 1 <= lane.cpus <= (os.cpu_count() or 1)
    assert lane.time_scale == 1


def run_pytest(folder: Path, text: str, *arguments: str, lane: str = "uml") -> subprocess.CompletedProcess[str]:
    """Run pytest with this project's conftest over a module of the given text."""
    (folder / "test_it.py").write_text(textwrap.dedent(text))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
        *arguments,
        str(folder),
    ]
    return subprocess.run(
        [*command, f"--rootdir={folder}"],
        env={**os.environ, "LXCFS_PY_LANE": lane, "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_skip_fails(tmp_path: Path) -> None:
    """A skipped test fails the run: a skip would look like evidence."""
    done = run_pytest(
        tmp_path,
        """
        import pytest

        def test_skips():
            pytest.skip("not today")
        """,
    )
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert "not today" in done.stdout


def test_deselected_is_counted_and_named(tmp_path: Path) -> None:
    """What a lane lacks is deselected, counted and named; a run that is left with no test fails."""
    done = run_pytest(
        tmp_path,
        """
        import pytest

        @pytest.mark.needs_cpus(2)
        def test_two():
            pass
        """,
    )
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "1 deselected" in done.stdout
    assert "lane uml: 1 deselected, it has no cpus(2)" in done.stdout


@pytest.mark.parametrize(("beyond", "left"), [("uml", 2), ("here", 3)])
def test_beyond(tmp_path: Path, beyond: str, left: int) -> None:
    """A slow lane can be left with what another one lacks and what differs from kernel to kernel."""
    done = run_pytest(
        tmp_path,
        """
        import pytest

        @pytest.mark.needs_cpus(2)
        def test_two():
            pass

        @pytest.mark.per_kernel
        def test_kernel():
            pass

        @pytest.mark.anywhere
        def test_no_matter_where():
            pass

        def test_one():
            pass
        """,
        f"--beyond={beyond}",
        lane="qemu",
    )
    assert f"{left} passed, {4 - left} deselected" in done.stdout
    assert f"lane qemu: {4 - left} deselected, lane {beyond} can run them" in done.stdout


def test_left() -> None:
    """What came and what went are both named, but for processes that ended."""
    before = {"mounts": frozenset({"/a", "/b"}), "processes": frozenset({"1@5 x"})}
    after = {"mounts": frozenset({"/b", "/c"}), "processes": frozenset({"2@6 y"})}
    assert leaks.left(before, after) == ["mounts: left /c", "mounts: lost /a", "processes: left 2@6 y"]


def test_snapshot_sees_a_process_of_ours() -> None:
    """A process with our name in its command line is found while it runs, and not after."""
    with subprocess.Popen(["/bin/sh", "-c", "read line", "pyproc-leak"], stdin=subprocess.PIPE) as child:
        during = [item for item in leaks.snapshot()["processes"] if item.startswith(f"{child.pid}@")]
    assert during
    assert f"{child.pid}@" not in " ".join(leaks.snapshot()["processes"])


def test_what_boots_a_guest() -> None:
    """What whoever boots a guest runs meanwhile is taken for no test's, however it is called."""
    script = "/bin/sh -c 'echo; read line' pyproc-leak; :"
    pipe = subprocess.PIPE
    with subprocess.Popen(["/bin/sh", "-c", script, "tests/vm/boot"], stdin=pipe, stdout=pipe) as booting:
        assert booting.stdout is not None
        booting.stdout.readline()
        assert "pyproc-leak" not in " ".join(leaks.snapshot()["processes"])

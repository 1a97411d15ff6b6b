"""The writing half, over directories that stand for cgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lxcfs_py.cgroup import control
from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from pathlib import Path


def unified(at: Path, controllers: str) -> Layout:
    """Return a cgroup2 that offers these controllers, and has them for children of its root."""
    for file in ("cgroup.controllers", "cgroup.subtree_control"):
        (at / file).write_text(controllers + "\n")
    return Layout({"": Hierarchy(2, str(at), "/", tuple(controllers.split()))})


@pytest.mark.parametrize(
    ("controllers", "what"),
    [("cpu pids", "{}/cgroup.controllers has no 'memory'"), ("memory", "{}/one/cgroup.controllers has no 'memory'")],
)
def test_a_missing_controller_is_named(tmp_path: Path, controllers: str, what: str) -> None:
    """If cgroup2 lacks a controller that a limit needs, the error names it, the level, and the remedy."""
    with pytest.raises(Error) as caught:
        control.create(Host(), unified(tmp_path, controllers), "/one/two", control.Limits(memory_bytes=1 << 26))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0] == f"{what.format(tmp_path)}; leave out its limit, or enable it above"

"""What is remembered of cgroups' files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.cgroup import base
from lxcfs_py.cgroup.layout import Hierarchy
from lxcfs_py.cgroup.v2 import MEMORY, V2
from lxcfs_py.files import Files

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_deep_cgroups_take_no_memory_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However deep the cgroups are that a container goes through, paths of so many characters are remembered at the
    most; and each is right, remembered or not.
    """
    monkeypatch.setattr(base, "MOST_KNOWN", 20_000)
    driver = V2(Files(1), Hierarchy(2, str(tmp_path)))
    for number in range(20):
        path = f"/{number}" + "/a" * 20
        for _ in range(2):
            over = driver._levels(path, *MEMORY)
            assert (len(over), over[-1][0]) == (21, f"{tmp_path}/{number}/memory.max")
            assert driver._at(path, "cpu.stat") == f"{tmp_path}{path}/cpu.stat"
        known = [*driver._own.values(), *(file for each in driver._over.values() for level in each for file in level)]
        assert sum(map(len, known)) <= max(20_000, sum(len(file) for level in over for file in level))

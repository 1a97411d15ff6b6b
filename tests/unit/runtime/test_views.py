"""What is bound into a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py import serving
from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.host import Host
from lxcfs_py.served import BOUND, STALLS

if TYPE_CHECKING:
    from pathlib import Path


def test_only_what_the_host_has_is_bound(tmp_path: Path) -> None:
    """A served file that the host's kernel lacks has no place to be bound at; all others are bound."""
    host = Host(str(tmp_path / "proc"), str(tmp_path / "sys"))
    layout = Layout({"": Hierarchy(2, str(tmp_path))})
    assert serving.paths(host, layout) == ()
    for name in STALLS:
        (tmp_path / f"{name}.pressure").touch()
    for path in BOUND:
        (tmp_path / path).mkdir(parents=True)
    assert serving.paths(host, layout) == BOUND
    (tmp_path / "proc/slabinfo").rmdir()
    assert set(BOUND) - set(serving.paths(host, layout)) == {"proc/slabinfo"}

"""A daemon is found by what it announces, and by nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py import announcement, json_text
from lxcfs_py.announcement import Announcement
from lxcfs_py.container import start_ticks
from lxcfs_py.files import Files
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from pathlib import Path

OWN = Announcement(os.getpid(), start_ticks(Host(), Files(), os.getpid()) or 0, "/mnt", "1", 7)


def test_written_read_and_withdrawn(tmp_path: Path) -> None:
    """What was announced is read, by its own process only it is withdrawn, and nothing is left."""
    host = Host(run=str(tmp_path))
    assert announcement.read(host) is None
    announcement.write(host, OWN)
    assert announcement.read(host) == OWN
    assert announcement.serves(host, OWN)
    announcement.withdraw(host, OWN.pid + 1)
    assert announcement.read(host) == OWN
    announcement.withdraw(host, OWN.pid)
    assert announcement.read(host) is None
    assert os.listdir(tmp_path / "lxcfs-py") == []


@pytest.mark.parametrize("change", [{"pid": 1 << 22}, {"start_ticks": 1}])
def test_a_process_that_has_ended(tmp_path: Path, change: dict[str, int]) -> None:
    """A pid that is not there, or that somebody else has by now, serves nothing."""
    assert not announcement.serves(Host(run=str(tmp_path)), OWN.replace(**change))


@pytest.mark.parametrize(
    "change", [{"pid": "1"}, {"pid": True}, {"pid": -1}, {"loads": 1e300}, {"mountpoint": ""}, {"mountpoint": 3}]
)
def test_garbage(tmp_path: Path, change: dict[str, Any]) -> None:
    """An announcement whose values are of other kinds announces nobody."""
    (tmp_path / "lxcfs-py").mkdir()
    (tmp_path / "lxcfs-py/daemon.json").write_bytes(json_text.dumps({**OWN.as_dict(), **change}))
    assert announcement.read(Host(run=str(tmp_path))) is None

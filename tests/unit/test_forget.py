"""What a daemon that has gone announced is removed, and nothing else."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.container import start_ticks
from lxcfs_py.daemon import mount
from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from pathlib import Path

PLACE = "/var/lib/lxcfs"
OWN = {
    "pid": os.getpid(),
    "start_ticks": start_ticks(Host(), Files(), os.getpid()),
    "mountpoint": PLACE,
    "version": "1",
    "loads": 5,
}


def forget(tmp_path: Path, text: str) -> bool:
    """Forget PLACE where this is announced; say whether the announcement has gone."""
    file = tmp_path / "lxcfs-py/daemon.json"
    file.parent.mkdir()
    file.write_text(text)
    mount.forget(PLACE, Host(run=str(tmp_path)))
    return not file.exists()


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (json.dumps({**OWN, "start_ticks": 1}), True),
        (json.dumps({**OWN, "pid": 1 << 30}), True),
        (json.dumps({**OWN, "mountpoint": "/elsewhere"}), False),
        (json.dumps({"mountpoint": PLACE}), False),
        ("[]", False),
        ("{", False),
        ("", False),
    ],
)
def test_forget(tmp_path: Path, text: str, gone: bool) -> None:
    """An announcement of a process that has gone is removed; one of another place, or that says nothing, stays."""
    assert forget(tmp_path, text) == gone


def test_a_daemon_that_serves(tmp_path: Path) -> None:
    """A daemon that runs is named, and nothing is forgotten."""
    with pytest.raises(Error, match=f"daemon {os.getpid()} serves there"):
        forget(tmp_path, json.dumps(OWN))
    assert (tmp_path / "lxcfs-py/daemon.json").exists()


def test_nothing_announced(tmp_path: Path) -> None:
    """Without an announcement there is nothing to do."""
    mount.forget(PLACE, Host(run=str(tmp_path)))

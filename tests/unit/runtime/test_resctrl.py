"""Shares of caches: groups in a tree that looks like resctrl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.errors import Error
from runtime.process import resctrl

if TYPE_CHECKING:
    from pathlib import Path

LINES = ["L3:0=ff;1=f", "MB:0=50"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a resctrl below a /sys."""
    found = tmp_path / "fs/resctrl"
    (found / "mon_groups").mkdir(parents=True)
    (found / "schemata").write_text("    L3:0=fff\n")
    return found


@pytest.mark.parametrize(
    "asked",
    [
        {"schemata": LINES},
        {"l3CacheSchema": LINES[0], "memBwSchema": LINES[1]},
        {"l3CacheSchema": f"{LINES[0]}\n{LINES[1]}\n"},
    ],
)
def test_shares(asked: dict[str, Any]) -> None:
    """Newer and older ways of asking are the same lines."""
    assert resctrl.schemata(asked) == LINES


def test_a_group_of_its_own(root: Path, tmp_path: Path) -> None:
    """Without a name it is named after the container, and goes with it."""
    asked = {"schemata": LINES[:1]}
    resctrl.check(asked, str(tmp_path))
    resctrl.make(asked, "web", str(tmp_path))
    assert (root / "web/schemata").read_text() == f"{LINES[0]}\n"
    assert resctrl.doors(asked, "web", str(tmp_path)) == (f"{root}/web/tasks",)
    (root / "web/schemata").unlink()  # the kernel's own does not stand in the way
    resctrl.remove(asked, "web", str(tmp_path))
    assert not (root / "web").exists()
    resctrl.remove(asked, "web", str(tmp_path))


def test_a_named_group(root: Path, tmp_path: Path) -> None:
    """A group that is there must have the shares that are asked for, and stays; what counts the container goes."""
    (root / "gold/mon_groups").mkdir(parents=True)
    (root / "gold/schemata").write_text("    L3:0=ff;1=f\n    MB:0=50\n")
    asked = {"closID": "gold", "schemata": LINES, "enableMonitoring": True}
    resctrl.make(asked, "web", str(tmp_path))
    assert (root / "gold/mon_groups/web").is_dir()
    assert resctrl.doors(asked, "web", str(tmp_path))[1] == f"{root}/gold/mon_groups/web/tasks"
    resctrl.remove(asked, "web", str(tmp_path))
    assert not (root / "gold/mon_groups/web").exists()
    assert (root / "gold/schemata").exists()
    with pytest.raises(Error, match=r"linux\.intelRdt: .*/gold is there and has not 'MB:0=10'"):
        resctrl.make({**asked, "schemata": ["MB:0=10"]}, "web", str(tmp_path))


@pytest.mark.parametrize("name", [".", "..", "a/b"])
def test_no_name(root: Path, tmp_path: Path, name: str) -> None:
    """A name may not lead elsewhere."""
    with pytest.raises(Error, match=r"linux\.intelRdt\.closID: "):
        resctrl.check({"closID": name}, str(tmp_path))


def test_nothing_to_share(tmp_path: Path) -> None:
    """A machine without it is an error that says so."""
    with pytest.raises(Error, match=r"linux\.intelRdt: there is no resctrl at .*; mount -t resctrl"):
        resctrl.check({}, str(tmp_path))

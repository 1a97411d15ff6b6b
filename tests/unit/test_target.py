"""Which file and whose `show` and `explain` take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lxcfs_py import target
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.reader import Reader
from tests.unit.test_explain import V2

if TYPE_CHECKING:
    from pathlib import Path

SERVED = ("proc/meminfo", "proc/pressure/memory", "sys/devices/system/memory", "sys/devices/system/cpu/online")


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("meminfo", "proc/meminfo"), ("/proc/meminfo", "proc/meminfo"), ("proc//meminfo", "proc/meminfo"),
        ("online", "sys/devices/system/cpu/online"), ("pressure/memory", "proc/pressure/memory"),
        ("/sys/devices/system/cpu/possible", "sys/devices/system/cpu/possible"),
    ],
)  # fmt: skip
def test_a_file_by_name_or_path(file: str, path: str) -> None:
    """A file is named by its path, or by as much of its end as is only its own."""
    assert target.path(file, SERVED) == path


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("memory", "name one of proc/pressure/memory, sys/devices/system/memory"),
        ("info", "there are proc/meminfo"), ("", "no such file"), ("../../etc/passwd", "no such file"),
        ("sys/devices/system/cpu/../../../../etc/passwd", "no such file"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_meant(file: str, words: str) -> None:
    """What names no file, or several, is an error that lists what there is."""
    with pytest.raises(Error, match=words):
        target.path(file, SERVED)


def reader_of(at: Path) -> Reader:
    """Return a reader of a tree with one cgroup."""
    for name, text in V2.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text)
    return Reader(Host(f"{at}/proc", f"{at}/sys", f"{at}/cgroup", f"{at}/run"))


@pytest.mark.parametrize("name", ["/pod/leaf", "pod/leaf/", "//pod/./leaf", "{0}/cgroup/pod/leaf"])
def test_a_cgroup_by_path_or_directory(tmp_path: Path, name: str) -> None:
    """A cgroup is named as /proc/PID/cgroup does, or by its directory."""
    found = target.container(reader_of(tmp_path), target.Whose(cgroup=name.format(tmp_path)))
    assert found is not None
    assert dict(found.cgroup.paths) == {"": "/pod/leaf"}


def test_the_root_cgroup_is_the_host(tmp_path: Path) -> None:
    """Whoever is in the root cgroup sees the host's files."""
    assert target.container(reader_of(tmp_path), target.Whose(cgroup="/")) is None


@pytest.mark.parametrize(
    ("whose", "words"),
    [
        (target.Whose(), "name one of"), (target.Whose(pid=1, cgroup="/pod"), "name one of"),
        (target.Whose(cgroup="/pod/none"), "/pod/none: no such cgroup"),
        (target.Whose(pid=4711), "4711: no such process"), (target.Whose(container="x"), "'x' is not registered"),
    ],
)  # fmt: skip
def test_nobody_is_an_error(tmp_path: Path, whose: target.Whose, words: str) -> None:
    """A process, cgroup or container that is not there is named in an error; it does not get the host's figures."""
    with pytest.raises(Error, match=words):
        target.container(reader_of(tmp_path), whose)

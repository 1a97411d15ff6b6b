"""Kernel files that can't be read, are cut off or hold something odd, seen through a whole daemon."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.apart import Apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.box import Box

BAD: dict[str, object] = {"unreadable": None, "empty": b"", "odd": b"\xff\0 max\n-\n9\n: x\n", "cut": 0.6}
"""How a file is bad; a number is how much of it is left."""
HOST_FILES = ("/proc/meminfo", "/proc/stat", "/proc/cpuinfo", "/sys/devices/system/cpu/online")
CGROUP_FILES = (
    "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "cpu.cfs_quota_us", "cpuacct.usage",
    "cpuset.effective_cpus", "memory.max", "memory.current", "cpu.max", "cpu.stat", "cpuset.cpus.effective",
)  # fmt: skip
READS = 5
READ = f"""
for i in {" ".join(map(str, range(READS)))}; do
    for f in /proc/meminfo /proc/stat /proc/cpuinfo /proc/uptime /sys/devices/system/cpu/online; do
        echo "@@@$f"; cat $f 2>&1
    done
done | LC_ALL=C tr -c '[:print:]\\n\\t' '?'
"""


@pytest.fixture
def apart(tmp_path: Path, time_scale: float) -> Iterator[Apart]:
    """Yield a box with a mount namespace of its own, without a daemon yet."""
    found = Apart(tmp_path, time_scale)
    yield found
    found.close()


def cover(apart: Apart, path: str | Path, how: object) -> None:
    """Make a file bad for the daemon."""
    data = how
    if isinstance(how, float):
        whole = Path(path).read_bytes()
        data = whole[: int(len(whole) * how)]
    assert data is None or isinstance(data, bytes)
    apart.cover(path, data)


def read(apart: Apart, name: str) -> list[tuple[str, str]]:
    """Return what a container's files say, each read several times by as many processes."""
    text = apart.pyproc("exec", name, "--", "sh", "-c", READ).stdout
    return [(path, said) for path, _, said in (part.partition("\n") for part in text.split("@@@")[1:])]


def check_sane(found: list[tuple[str, str]]) -> None:
    """Fail unless every read gave a text without negative numbers, or an error."""
    assert len(found) == READS * 5
    for path, said in found:
        assert "Input/output error" in said or not re.search(r"(^|\s)-\d", said), (path, said)


def check_log(box: Box) -> list[str]:
    """Return the lines of the log without pids; none of them may be there twice."""
    lines = [re.sub(r" \(pid \d+\)$", "", line) for line in box.log.read_text().splitlines()]
    assert len(lines) == len(set(lines)), lines
    return lines


@pytest.mark.anywhere
@pytest.mark.parametrize("kind", BAD)
def test_bad_files_of_the_host(apart: Apart, kind: str) -> None:
    """With the host's own files bad the daemon serves on, and logs each cause once."""
    for path in HOST_FILES:
        if path != "/sys/devices/system/cpu/online":
            cover(apart, path, BAD[kind])
    daemon = apart.start_daemon()
    cover(apart, "/sys/devices/system/cpu/online", BAD[kind])
    name = apart.start("-m", "64m", "--", "sleep", "1000")
    check_sane(read(apart, name))
    lines = check_log(apart)
    assert bool(lines) == (kind == "unreadable"), lines
    apart.do("umount", "--lazy", *HOST_FILES)
    apart.pyproc("delete", "--force", name)
    assert daemon.poll() is None


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_of_a_cgroup(apart: Apart, kind: str) -> None:
    """With one container's cgroup files bad it gets a sane text, the other its own, and each cause is logged once."""
    daemon = apart.start_daemon()
    name, other = (apart.start("-m", "64m", "--cpus", "1", "--", "sleep", "1000") for _ in range(2))
    paths = [path for path in Path("/sys/fs/cgroup").glob(f"**/pyproc/{name}/*") if path.name in CGROUP_FILES]
    assert len(paths) >= 4
    for path in paths:
        cover(apart, path, BAD[kind])
    found = read(apart, name)
    check_sane(found)
    host = subprocess.run(["grep", "-c", "", "/proc/meminfo"], capture_output=True, text=True, check=True).stdout
    assert all(said.count("\n") == int(host) for path, said in found if path == "/proc/meminfo")
    assert not any("Input/output error" in said for _, said in found), "the host's file could have been served"
    assert any(said.startswith("MemTotal:          65536 kB\n") for _, said in read(apart, other))
    lines = check_log(apart)
    assert bool(lines) == (kind == "unreadable"), lines
    assert all(f"{name}@" in line for line in lines), lines
    assert kind != "unreadable" or sum(any(str(path) in line for line in lines) for path in paths) >= 3, lines
    apart.do("umount", "--lazy", *paths)
    apart.pyproc("delete", "--force", name, other)
    assert daemon.poll() is None

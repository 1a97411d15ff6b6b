"""What a caller in a container can reach through the mount, also if all of it is bound there: its own, no other's."""

from __future__ import annotations

import errno
import subprocess
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import registry
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from tests.live.box import Box

LOOK = """
import os, sys
other, *own = sys.argv[1:]
at = '/lxcfs/containers'
assert os.listdir(at) == sorted(own), os.listdir(at)
for _ in range(3):
    for path in (other, other + '/proc', other + '/proc/meminfo', other + '/sys/devices/system/cpu/online', 'x'):
        for call in (os.stat, os.listdir, open, lambda path: os.open(path, os.O_PATH), os.readlink):
            try:
                call(f'{at}/{path}')
            except FileNotFoundError:
                continue
            raise AssertionError((path, call))
for path in (f'{at}/{own[0]}/proc/meminfo', '/lxcfs/proc/meminfo', '/proc/meminfo'):
    assert open(path).read().startswith('MemTotal:          65536 kB'), path
"""
HANDLE = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
where, inode = os.open(sys.argv[1], os.O_RDONLY), int(sys.argv[2])
found = set()
node = struct.pack('=III', inode >> 32, inode & 0xffffffff, 0)
for kind, number in ((0x81, node), (0x82, node + struct.pack('=III', 0, 1, 0))):  # as fuse_encode_fh makes them
    handle = ctypes.create_string_buffer(struct.pack('=Ii', len(number), kind) + number)
    assert libc.open_by_handle_at(where, handle, os.O_RDONLY) == -1
    found.add(ctypes.get_errno())
print(*found)
"""


def test_no_other_container_is_reached(clean: Box) -> None:
    """With the whole mount bound into it a container lists and reads itself alone; the others' go on working."""
    whole = f"-v{clean.mountpoint}:/lxcfs"
    own = clean.start("-m", "64m", whole, "--", "sleep", "1000")
    other = clean.start("-m", "96m", whole, "--", "sleep", "1000")
    host = Host(run=str(clean.base / "run"))
    pod = registry.load(host, own).replace(id="pod", cgroups=registry.load(host, other).cgroups)
    registry.register(host, pod)  # of the same pid namespace
    for _ in range(2):
        clean.pyproc("exec", own, "--", "python3", "-c", LOOK, other, own, "pod")
        seen = clean.pyproc("exec", other, "--", "sh", "-c", "cat /proc/meminfo; ls /sys/devices/system/cpu").stdout
        assert seen.startswith("MemTotal:          98304 kB"), seen
        assert "online" in seen.split()
    assert {path.name for path in (clean.mountpoint / "containers").iterdir()} == {own, other, "pod"}
    for name, size in ((own, 65536), (other, 98304), ("pod", 98304)):
        text = (clean.mountpoint / f"containers/{name}/proc/meminfo").read_text()
        assert text.startswith(f"MemTotal: {size:14} kB")
    registry.unregister(host, "pod", pod.init_pid, pod.init_start_ticks)
    clean.pyproc("delete", "--force", own, other)


def test_within_a_container(clean: Box) -> None:
    """From pid and user namespaces within a container its own is reached, bound files too, and nothing more."""
    whole = f"-v{clean.mountpoint}:/lxcfs"
    own = clean.start("--cap-add", "SYS_ADMIN", "-m", "64m", whole, "--", "sleep", "1000")
    other = clean.start("-m", "96m", "--", "sleep", "1000")
    for nested in (("unshare", "-pf"), ("unshare", "-Urpf"), ("unshare", "-pf", "unshare", "-pf")):
        clean.pyproc("exec", own, "--", *nested, "python3", "-c", LOOK, other, own)
    clean.pyproc("delete", "--force", own, other)


def test_no_file_by_its_number(clean: Box, lane: str) -> None:
    """Another's file can't be opened by its inode's number either, which needs no look-up."""
    whole = f"-v{clean.mountpoint}:/lxcfs"
    rights = ("--cap-add", "SYS_ADMIN")
    own, other = (clean.start(*rights, whole, "--", "sleep", "1000") for _ in range(2))
    inode = (clean.mountpoint / f"containers/{other}/proc/meminfo").stat().st_ino
    refused = {errno.EPERM, errno.ESTALE, errno.EOPNOTSUPP, errno.EINVAL}
    for nested in ((), ("unshare", "-Urm")):
        said = clean.pyproc("exec", own, "--", *nested, "python3", "-c", HANDLE, "/lxcfs", str(inode))
        found = set(map(int, said.stdout.split()))
        assert found
        assert found <= refused, said
    if lane != "uml":  # a kernel that can be told so
        command = ["python3", "-c", HANDLE, str(clean.mountpoint), str(inode)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert set(map(int, done.stdout.split())) <= refused - {errno.EPERM}
    clean.pyproc("delete", "--force", own, other)


@pytest.mark.parametrize(("user", "slabs"), [(("-u", "1000"), False), ((), True)])
def test_other_users_read_what_they_may(clean: Box, user: tuple[str, ...], slabs: bool) -> None:
    """Other users read every file but slabinfo, as the kernel has it; root in a container reads all."""
    name = clean.start(*user, f"-v{clean.mountpoint}:/lxcfs", "--", "sleep", "1000")
    names = ["meminfo", "stat", "cpuinfo", "uptime", "loadavg", "swaps", "diskstats", "slabinfo"]
    script = f"for f in {' '.join(names)}; do cat /lxcfs/$1/proc/$f >/dev/null && echo $f; done"
    for tree in ("", f"containers/{name}"):
        said = clean.pyproc("exec", name, "--", "sh", "-c", script, "sh", tree, check=False).stdout.split()
        assert said == (names if slabs else names[:-1])
    clean.pyproc("delete", "--force", name)

"""What a run of live tests may have left on the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time

CGROUPS = "/sys/fs/cgroup"
LISTED = (
    "/run/pyproc",
    "/run/lxcfs-py",
    "/run/lxcfs-py/containers",
    "/var/lib/pyproc/containers",
    "/sys/class/net",
)
ENGINES = ("/default", "/docker", "/kubepods", "/libpod_parent")
"""Cgroups that container engines make for their containers unless they are told to use others."""
NAMES = (b"lxcfs-py", b"lxcfs_py", b"pyproc")
GUEST = b"lxcfs-py-vm"
"""In the command line of a guest's kernel (tests/vm/setup); one may be booted meanwhile."""
BOOTING = b"tests/vm/"
"""In that of what boots it; what that runs before is no test's."""

Snapshot = dict[str, frozenset[str]]


def mounts() -> frozenset[str]:
    """Return this namespace's mounts as ``/mount/point fstype source``."""
    found = set()
    with open("/proc/self/mountinfo") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            found.add(f"{left.split()[4]} {' '.join(right.split()[:2])}")
    return frozenset(found)


def cgroups() -> frozenset[str]:
    """Return every cgroup named after us, or by engines, of all hierarchies."""
    found = (os.path.join(at, name) for at, names, _ in os.walk(CGROUPS) for name in names)
    return frozenset(path for path in found if "pyproc" in path or "lxcfs-py" in path or path.endswith(ENGINES))


def remove_cgroups(parent: str, deadline: float) -> None:
    """Remove a cgroup and those below it, of all hierarchies, when who keeps a container's company has left them."""
    while found := [at for at, _, _ in os.walk(CGROUPS, topdown=False) if f"{at}/".find(f"{parent}/") > 0]:
        assert time.monotonic() < deadline, found
        for at in found:
            with contextlib.suppress(OSError):
                os.rmdir(at)
        time.sleep(0.05)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # the process ended meanwhile
        return b""


def _boots(pid: str) -> bool:
    """Say whether a process, or one that it descends from, boots a guest."""
    while pid not in ("0", ""):
        if BOOTING in _read(f"/proc/{pid}/cmdline"):
            return True
        pid = b"".join(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1:2]).decode()
    return False


def processes() -> frozenset[str]:
    """Return the processes that run our programs or live in our cgroups, as ``PID@START COMMAND``."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        stat = _read(f"/proc/{pid}/stat")
        command = _read(f"/proc/{pid}/cmdline").replace(b"\0", b" ")
        if not stat or GUEST in command or not any(name in command + _read(f"/proc/{pid}/cgroup") for name in NAMES):
            continue
        if _boots(pid):
            continue
        start = stat.rpartition(b")")[2].split()[19].decode()
        found.add(f"{pid}@{start} {command.decode(errors='replace')[:100].strip()}")
    return frozenset(found)


def loops() -> frozenset[str]:
    """Return the loop devices that have a file."""
    names = (name for name in os.listdir("/sys/block") if os.path.exists(f"/sys/block/{name}/loop/backing_file"))
    return frozenset(names)


def listed() -> frozenset[str]:
    """Return what our directories hold, and the network's interfaces."""
    held = [(at, os.listdir(at)) for at in LISTED if os.path.isdir(at)]
    return frozenset(f"{at}/{name}" for at, names in held for name in names)


def rules() -> frozenset[str]:
    """Return the network's rules."""
    command = shutil.which("nft")
    done = command and subprocess.run([command, "--stateless", "list", "ruleset"], capture_output=True, text=True)
    return frozenset(done.stdout.splitlines() if done else ())


def snapshot() -> Snapshot:
    """Return all that a test could leave behind, by kind."""
    kinds = (mounts, cgroups, processes, loops, listed, rules)
    return {kind.__name__: kind() for kind in kinds}


def left(before: Snapshot, after: Snapshot) -> list[str]:
    """Return what differs between two snapshots, one line an item."""
    return [
        f"{kind}: {sign} {item}"
        for kind in before
        for sign, items in (("left", after[kind] - before[kind]), ("lost", before[kind] - after[kind]))
        for item in sorted(items)
        if sign == "left" or kind != "processes"  # somebody else's daemon may end by itself
    ]

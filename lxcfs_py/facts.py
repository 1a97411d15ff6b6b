"""What ``doctor`` needs to know of a host, gathered as whoever runs it; what can't be seen is left out."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
from typing import TYPE_CHECKING

from lxcfs_py import announcement
from lxcfs_py.cgroup import layout as layouts
from lxcfs_py.container import NS_GET_TGID_FROM_PIDNS
from lxcfs_py.daemon import mount
from lxcfs_py.files import Files
from lxcfs_py.procfs import mountinfo, status
from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.host import Host

STORAGE = "/var/lib/pyproc"
"""pyproc's default storage."""
ANSWER_SECONDS = 5.0
"""How long a mount may take to answer before it counts as dead."""


class Place(Record):
    """What is mounted at a mount point."""

    path: str
    fstype: str = ""
    """"" for nothing."""
    source: str = ""
    answers: bool = False


class Daemon(Record):
    """The announcement of a daemon."""

    pid: int
    alive: bool
    place: Place


class Facts(Record):
    """One host, and the rights of who asks."""

    uid: int
    capabilities: int
    """The effective ones, a bit each (capability.h)."""
    release: str
    fuse: str
    """Why /dev/fuse can't be opened, "" if it can."""
    pidfd: bool
    time_namespaces: bool
    translates_pids: bool
    layout: Layout
    enabled: Mapping[str, bool]
    """/proc/cgroups: the controllers that were built in, and whether they are switched on."""
    writable: bool
    """The cgroups."""
    swap_accounting: bool | None
    """None where only a cgroup below the top one could tell, and none has the controller."""
    pressure: bool
    notifies: bool
    """Whether seccomp has SECCOMP_RET_USER_NOTIF."""
    overlay: bool
    storage: str
    storage_fstype: str
    files: int
    """The hard limit of RLIMIT_NOFILE."""
    daemon: Daemon | None
    default: Place
    """The default mount point."""


def _text(path: str) -> str:
    try:
        return Files().read(path).decode("utf-8", "replace")
    except OSError:
        return ""


def _fuse(device: str) -> str:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _translates(host: Host) -> bool:
    try:
        descriptor = os.open(f"{host.proc}/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(fcntl.ioctl(descriptor, NS_GET_TGID_FROM_PIDNS, os.getpid()))
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _layout(host: Host) -> Layout:
    try:
        return layouts.detect(host, Files())
    except OSError:
        return layouts.Layout({})


def _enabled(text: str) -> dict[str, bool]:
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {row[0]: row[3] == "1" for row in rows if len(row) == 4}


def _swap_accounting(layout: Layout) -> bool | None:
    hierarchy = layout.which("memory")
    if hierarchy is None:
        return None
    if hierarchy.version == 1:
        return os.path.exists(f"{hierarchy.mount}/memory.memsw.limit_in_bytes")
    for directory in layouts.below(hierarchy.mount):
        if os.path.exists(f"{directory}/memory.max"):
            return os.path.exists(f"{directory}/memory.swap.max")
    return None


def _place(path: str, proc: str) -> Place:
    try:
        found = mount.mounted(path, proc)
    except OSError:
        found = None
    if found is None:
        return Place(path)
    answers = found.fstype != mount.FSTYPE or _answers(path)
    return Place(path, found.fstype, found.source, answers)


def _answers(path: str) -> bool:
    """Ask a mount, in a process that can be killed if it hangs."""
    try:
        return not subprocess.run(["stat", "-f", path], capture_output=True, timeout=ANSWER_SECONDS).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def _daemon(host: Host) -> Daemon | None:
    found = announcement.read(host)
    if found is None:
        return None
    return Daemon(found.pid, announcement.serves(host, found), _place(found.mountpoint, host.proc))


def gather(host: Host, mountpoint: str) -> Facts:
    """Return the facts; ``mountpoint`` is the default one."""
    layout = _layout(host)
    return Facts(
        uid=os.geteuid(),
        capabilities=status.effective(_text(f"{host.proc}/self/status").encode()),
        release=os.uname().release,
        fuse=_fuse(mount.DEVICE),
        pidfd=_pidfd(),
        time_namespaces=os.path.exists(f"{host.proc}/self/ns/time"),
        translates_pids=_translates(host),
        layout=layout,
        enabled=_enabled(_text(f"{host.proc}/cgroups")),
        writable=all(os.access(hierarchy.mount, os.W_OK) for hierarchy in layout.hierarchies.values()),
        swap_accounting=_swap_accounting(layout),
        pressure=bool(_text(f"{host.proc}/pressure/cpu")),
        notifies="user_notif" in _text(f"{host.proc}/sys/kernel/seccomp/actions_avail").split(),
        overlay="overlay" in _text(f"{host.proc}/filesystems").split() or _module("overlay"),
        storage=STORAGE,
        storage_fstype=mountinfo.fstype_at(
            mountinfo.parse(_text(f"{host.proc}/self/mountinfo").encode()), os.path.realpath(STORAGE)
        ),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        daemon=_daemon(host),
        default=_place(mountpoint, host.proc),
    )


def _module(name: str) -> bool:
    """Say whether the running kernel could load a module."""
    return f"/{name}.ko" in _text(f"/lib/modules/{os.uname().release}/modules.dep")

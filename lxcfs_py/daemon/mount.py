"""The mount: made by mount(2) with a descriptor of /dev/fuse we keep, so that it outlives any worker."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from lxcfs_py import announcement
from lxcfs_py.errors import Error, reason
from lxcfs_py.fuse import protocol
from lxcfs_py.procfs import mountinfo
from lxcfs_py.seccomp.protocol import socket_path, users_socket_path

if TYPE_CHECKING:
    from lxcfs_py.host import Host

DEVICE = "/dev/fuse"
FSTYPE, SOURCE = "fuse.lxcfs-py", "lxcfs-py"
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def _call(result: int, call: str, path: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", path)


def umount(path: str) -> None:
    """Unmount, also if it is in use: what is bound elsewhere stays until its container ends; raises OSError."""
    _call(_libc.umount2(os.fsencode(path), MNT_DETACH), "umount", path)


def mounted(path: str, proc: str = "/proc") -> mountinfo.Mount | None:
    """Return what is mounted at a path: the last of several."""
    with open(f"{proc}/self/mountinfo", "rb") as file:
        found = [mount for mount in mountinfo.parse(file.read()) if mount.mount_point == path]
    return found[-1] if found else None


def forget(path: str, host: Host) -> None:
    """Remove what a daemon that has gone announced of a mount point; raises an Error if one serves there."""
    found = announcement.read(host)
    if found is None or found.mountpoint != path:
        return
    if announcement.serves(host, found):
        raise Error(f"{path}: the daemon {found.pid} serves there", "stop it first")
    announcement.withdraw(host, found.pid)
    for path in (socket_path(host), users_socket_path(host)):
        with suppress(FileNotFoundError):
            os.unlink(path)


def is_dead(path: str) -> bool:
    """Say whether a FUSE mount's server has gone."""
    try:
        os.statvfs(path)  # asks the server; stat(2) may be answered from the kernel's cache
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def prepare(path: str, *, nonempty: bool = False) -> None:
    """Make the mount point ready; raises an Error if something is there: a live mount, or files unless allowed."""
    while (there := mounted(path)) is not None:
        if there.fstype != FSTYPE:
            what = f"{there.source} ({there.fstype})"
            hint = "stop it, or name another directory: lxcfs-py serve DIR"
            raise Error(f"{path}: {what} is mounted there", hint)
        if not is_dead(path):
            raise Error(f"{path}: another lxcfs-py serves there", f"stop it, or lxcfs-py umount {path}")
        umount(path)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise Error(reason(error), "name a directory that can be made") from error
    if not nonempty and os.listdir(path):
        raise Error(f"{path}: the directory is not empty", "name an empty one, or say -o nonempty")


def mount(path: str) -> tuple[int, protocol.Init]:
    """Mount, answer FUSE_INIT, and return the descriptor of the session; raises an Error."""
    if not os.path.exists(DEVICE):  # without udev's static nodes nothing loads the module for us
        try:
            subprocess.run(["modprobe", "fuse"], check=False, capture_output=True, stdin=subprocess.DEVNULL)
        except OSError:
            pass  # the next line says what is missing
    try:
        fuse = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Error(reason(error), "load the module fuse, as root: modprobe fuse") from error
    kind = stat.S_IFDIR
    options = f"fd={fuse},rootmode={kind:o},user_id=0,group_id=0,allow_other,default_permissions"
    flags = ctypes.c_ulong(MS_NOSUID | MS_NODEV | MS_NOEXEC)
    try:
        result = _libc.mount(SOURCE.encode(), os.fsencode(path), FSTYPE.encode(), flags, options.encode())
        _call(result, "mount", path)
    except OSError as error:
        os.close(fuse)
        raise Error(reason(error), "run it as root") from error
    init = protocol.parse_init(os.read(fuse, protocol.REQUEST_BYTES))
    os.write(fuse, protocol.init_reply(init))
    return fuse, init

"""Gives a container that has its mounts already the view: registers it, and binds the served files over its own.

All of this asks the daemon, and may hang with it: only a child does it (``hook``).
"""

from __future__ import annotations

import errno
import os

from lxcfs_py import ancestry, announcement, mountapi, registry
from lxcfs_py.cgroup import layout
from lxcfs_py.errors import Error, reason
from lxcfs_py.files import Files
from lxcfs_py.procfs import pid_stat, proc_cgroup, timens_offsets
from lxcfs_py.record import Record
from lxcfs_py.served import PRESSURE
from lxcfs_py.serving import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.host import Host

KINDS = {"proc": mountapi.PROC_SUPER_MAGIC, "sys": mountapi.SYSFS_MAGIC}
"""Below which directories of a root the served files go, and what must be mounted there."""


class Asked(Record):
    """What the runtime says of a container, as far as it concerns us."""

    id: str
    pid: int
    """Of its first process, in a pid namespace that is not always ours; 0 if it does not say."""
    rootfs: str
    view: str
    """``auto``, ``require`` or ``off``."""
    own_mounts: bool
    """Whether it has a mount namespace."""


def give(host: Host, container: Asked) -> None:
    """Register a container and bind the view; raises an Error or OSError, and then nothing is bound."""
    found = announcement.read(
        host
    )  # whether it lives does not matter: what it has mounted may outlive it for a while
    if found is None:
        raise Error("no lxcfs-py daemon serves", "start it: systemctl start lxcfs-py")
    mountpoint = found.mountpoint
    try:
        os.statvfs(mountpoint)  # stat may be answered from the kernel's cache
    except OSError as error:
        raise Error(f"the daemon does not serve: {reason(error)}", "see lxcfs-py status") from error
    there = paths(host, layout.detect(host, Files()))
    base = f"{mountpoint}/containers/{container.id}" if _register(host, container) else mountpoint
    copies = _copies(base, there)
    if not ancestry.inside(host, container.pid):
        mountapi.enter(f"{host.proc}/{container.pid}/ns/mnt", mountapi.CLONE_NEWNS)
    _attach(copies, _targets(container.rootfs, there), container.rootfs)


def _attach(copies: Mapping[str, int], targets: Mapping[str, int], rootfs: str) -> None:
    """Mount all copies that have a target, or none of them."""
    attached: list[str] = []
    try:
        for path, target in targets.items():
            if path in copies:
                mountapi.move_mount(copies[path], target, f"{rootfs}/{path}")
                attached.append(path)
    except OSError:
        for path in attached:
            try:
                mountapi.detach(copies[path], f"{rootfs}/{path}")
            except OSError:  # the others are to go all the same
                continue
        raise


def _register(host: Host, container: Asked) -> bool:
    """Register a container; return False where it must go by caller: we may not, or its name is another one's."""
    pid = container.pid
    if not registry.is_id(container.id):
        return False
    files = Files()
    found = pid_stat.parse(files.read(f"{host.proc}/{pid}/stat"))
    if found is None:
        raise Error(f"{host.proc}/{pid}/stat can't be understood", "is /proc mounted?")
    try:
        offset = timens_offsets.boottime_nsec(files.read(f"{host.proc}/{pid}/timens_offsets"))
    except OSError:  # a kernel without time namespaces
        offset = 0
    try:
        if runtime := ancestry.outside(host):  # paths are told from the reader's own cgroup namespace on
            mountapi.enter(f"{host.proc}/{runtime}/ns/cgroup", mountapi.CLONE_NEWCGROUP)
        every = proc_cgroup.parse(files.read(f"{host.proc}/{pid}/cgroup"))
        cgroups = {name: path for name, path in every.items() if not name.startswith("name=")}
        return registry.register(host, registry.Registration(container.id, pid, found.start_ticks, cgroups, offset))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise
        return False


def _copies(base: str, there: tuple[str, ...]) -> dict[str, int]:
    """Return mounts of the served files, read-only but for pressure, which is written to (psi.rst)."""
    found = {}
    for path in there:
        try:
            found[path] = mountapi.open_tree(f"{base}/{path}", recursive=False)
        except FileNotFoundError:  # a daemon of another version
            continue
        attributes = mountapi.NOSUID | mountapi.NODEV | mountapi.NOEXEC
        if not path.startswith(f"{PRESSURE}/"):
            attributes |= mountapi.RDONLY
        mountapi.set_attributes(found[path], f"{base}/{path}", set_=attributes)
    if not found:
        raise Error(f"{base}: nothing is served there", "see lxcfs-py status")
    return found


def _open_in(directory: int, path: str, resolve: int, name: str) -> int:
    """Return what a path below a directory leads to, as O_PATH; a link on the way is an error."""
    links = mountapi.RESOLVE_NO_SYMLINKS | mountapi.RESOLVE_NO_MAGICLINKS
    return mountapi.openat2(directory, path, os.O_PATH | os.O_NOFOLLOW, resolve | links, name=name)


def _targets(rootfs: str, there: tuple[str, ...]) -> dict[str, int]:
    """Return what is to be covered; not what the container lacks, or has something of its own over already."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    found = {}
    for name, kind in KINDS.items():
        at = f"{rootfs}/{name}"
        try:
            top = _open_in(root, name, mountapi.RESOLVE_IN_ROOT, at)
        except FileNotFoundError:
            continue
        if mountapi.file_system(top, at) != kind:
            continue
        for path in there:
            if path.startswith(f"{name}/"):
                try:
                    rest = path.removeprefix(f"{name}/")
                    found[path] = _open_in(top, rest, mountapi.RESOLVE_NO_XDEV, f"{rootfs}/{path}")
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EXDEV):
                        raise
    if not found:
        raise Error(f"{rootfs}/proc: no procfs is mounted there", "have the hook run at createRuntime")
    return found

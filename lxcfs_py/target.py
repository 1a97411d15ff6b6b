"""Which file, and as whose: what ``show`` and ``explain`` are asked for."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from lxcfs_py import tree
from lxcfs_py.container import Callers, Container, by_cgroup, by_registration, start_ticks
from lxcfs_py.errors import Error, reason
from lxcfs_py.record import Record
from lxcfs_py.served import CPU, FILES, PASSED
from lxcfs_py.views import cpus, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxcfs_py.reader import Reader


class Whose(Record):
    """Names one container in one of three ways."""

    pid: int | None = None
    cgroup: str | None = None
    container: str | None = None


NAMED = (*FILES, *(f"{CPU}/{name}" for name in cpus.WHOLE))
"""What is known by its name too."""


def path(file: str, served: Iterable[str] = NAMED) -> str:
    """Return the path below the mount point of a file that is named by it, or by its end; raises an Error."""
    wanted = posixpath.normpath(f"/{file}").lstrip("/")
    if wanted in served or tree.is_passed(wanted):
        return wanted
    found = [known for known in served if known.endswith(f"/{wanted}")]
    if len(found) > 1:
        raise Error(f"{file!r}: several files have that name", f"name one of {', '.join(found)}")
    if not found:
        there = f"{', '.join(served)} and what else is in {' and '.join(PASSED)}"
        raise Error(f"{file!r}: no such file is served", f"there are {there}")
    return found[0]


def container(reader: Reader, whose: Whose) -> Container | None:
    """Return whose view is wanted, None for the host's; raises an Error."""
    if [whose.pid, whose.cgroup, whose.container].count(None) != 2:
        raise Error("whose file?", "name one of --pid, --cgroup and --container")
    if whose.container is not None:
        return by_registration(reader.host, reader.files, whose.container)
    if whose.cgroup is not None:
        return _by_cgroup(reader, whose.cgroup)
    assert whose.pid is not None
    return _by_pid(reader, whose.pid)


def _by_pid(reader: Reader, pid: int) -> Container | None:
    """Return the container of a process, as if it had opened the file itself."""
    ended = Error(f"--pid {pid}: no such process", "ps ax lists those that are")
    if start_ticks(reader.host, reader.files, pid) is None:
        raise ended
    namespace = f"{reader.host.proc}/{pid}/ns/pid"
    try:
        os.readlink(namespace)
    except PermissionError as error:
        if os.geteuid() != 0:
            raise Error(reason(error), "run it as root, with sudo") from None
    except OSError:
        raise ended from None
    found = Callers(reader.host, reader.files).container(pid)
    if found is None and start_ticks(reader.host, reader.files, pid) is None:
        raise ended
    return found


def _by_cgroup(reader: Reader, cgroup: str) -> Container | None:
    """Return a cgroup, named by its path or by its directory; the root cgroup is the host."""
    hierarchies = {
        name: hierarchy
        for name, hierarchy in reader.cgroups.layout.hierarchies.items()
        if not name.startswith("name=")
    }
    name = posixpath.normpath(f"/{cgroup.strip('/')}")
    mounts = sorted({hierarchy.mount for hierarchy in hierarchies.values()}, key=len, reverse=True)
    mount = next((mount for mount in mounts if f"{name}/".startswith(f"{mount}/")), "")
    name = name[len(mount) :] or "/"
    if name == "/":
        return None
    if not any(os.path.isdir(hierarchy.directory(name)) for hierarchy in hierarchies.values()):
        raise Error(f"--cgroup {cgroup}: no such cgroup", f"cgroups are below {reader.host.cgroup}")
    return by_cgroup(name, tuple(hierarchies))


def text(reader: Reader, at: str, of: Container | None) -> bytes:
    """Return what the mount serves; raises OSError."""
    return reader.host_bytes(at) if of is None else read(reader, of, at)

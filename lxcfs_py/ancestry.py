"""Whose child a process is, across pid, mount and cgroup namespaces."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.procfs import pid_stat, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxcfs_py.host import Host


def nearest(pid: int, depth: int, ancestors: Mapping[int, tuple[int, ...]]) -> int:
    """Return which ancestor of a hook inside a pid namespace is the container's first process; 0 for none.

    ``pid`` is what the runtime calls it there (runc its number, crun 0); ``depth`` counts the hook's pid namespaces;
    ``ancestors`` have their numbers in each of theirs, the next ancestor first.
    """
    there = [number for number, numbers in ancestors.items() if len(numbers) == depth]
    named = [number for number in there if ancestors[number][-1] == (pid or 1)]
    return (named or there or [0])[0]


def same_namespace(host: Host, pid: int, kind: str) -> bool:
    """Say whether we are in a process's namespace of a kind; raises PermissionError if we may not look."""
    mine, other = (os.readlink(f"{host.proc}/{who}/ns/{kind}") for who in ("self", pid))
    return mine == other


def inside(host: Host, pid: int) -> bool:
    """Say whether we are in a process's mount namespace; who is not is started by the runtime, which may look."""
    try:
        return same_namespace(host, pid, "mnt")
    except PermissionError:
        return True


def outside(host: Host) -> int:
    """Return our nearest ancestor that is in another cgroup namespace, 0 for none."""
    for pid in ancestors(host):
        try:
            if not same_namespace(host, pid, "cgroup"):
                return pid
        except PermissionError:  # a PID 1 that is allowed more than we are
            continue
    return 0


def ancestors(host: Host) -> Iterator[int]:
    """Yield our parent, its parent, and so on."""
    pid: int | str = "self"
    while True:
        found = pid_stat.parse(Files().read(f"{host.proc}/{pid}/stat"))
        if found is None or not found.ppid:
            return
        yield (pid := found.ppid)


def first_process(host: Host, said: int) -> int:
    """Return the number in /proc of a container's first process, for which the runtime said another one perhaps."""

    def numbers(pid: int | str) -> tuple[int, ...]:
        return status.pids(Files().read(f"{host.proc}/{pid}/status"))

    ours = numbers("self")
    if said and len(ours) == 1:
        return said
    found = nearest(said, len(ours), {pid: numbers(pid) for pid in ancestors(host)})
    if not found:
        raise Error("its first process is not to be found", "let the runtime itself start the hook")
    return found

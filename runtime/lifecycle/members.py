"""The processes of a container: those of its cgroups; of its pid namespace and those below where it has no cgroup.

With neither of its own, they are its first process and what that brought forth: nobody else's may be signalled.
"""

from __future__ import annotations

import os

from lxcfs_py import process
from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error
from lxcfs_py.procfs import pid_stat
from runtime import places, state
from runtime.process import delegated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.state import State


def pids(found: State) -> list[int]:
    """Return them, as the host counts them; whoever is known by its parent comes before that."""
    if found.cgroup:
        return [*control.members(places.layout(found.cgroup), found.cgroup)]
    if not state.alive(found.pid, found.start_ticks):  # its number may be another's by now
        return []
    all_ = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    if process.numbers(places.host(), found.pid)[-1:] != (1,):  # the namespace is another's
        parents = {pid: told.ppid for pid in all_ if (told := pid_stat.parse(control.read(f"/proc/{pid}/stat")))}
        return _brought_forth(found.pid, parents)
    try:
        wanted = os.stat(f"/proc/{found.pid}/ns/pid").st_ino
    except PermissionError:  # an ordinary user's that waits to be started can't be looked into, and is alone
        return [found.pid]
    except OSError:
        return []
    return [pid for pid in all_ if wanted in process.pid_namespaces(places.host(), pid)]


def _brought_forth(first: int, parents: dict[int, int]) -> list[int]:
    """Return a process' children's children and so on, its children, and itself, if it is there."""
    found: list[int] = []
    more = [first] if first in parents else []
    while more:
        found = [*more, *found]
        more = [pid for pid, parent in parents.items() if parent in more]
    return found


def needs_cgroup(found: State, what: str) -> None:
    """Raise an Error if the container has none."""
    if not found.cgroup:
        disabled = "it was made with --cgroup-manager disabled"
        hint = delegated.GIVES if places.rootless() else disabled
        raise Error(f"container {found.id!r} can't be {what}: it has no cgroup of its own", hint)

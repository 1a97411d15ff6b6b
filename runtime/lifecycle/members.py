"""The processes of a container: those of its cgroups, or of its pid namespace where it has no cgroup."""

from __future__ import annotations

import os

from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error
from runtime import places
from runtime.process import delegated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.state import State


def pids(found: State) -> set[int]:
    """Return them, as the host counts them."""
    if found.cgroup:
        return control.members(places.layout(found.cgroup), found.cgroup)
    try:
        wanted = os.readlink(f"/proc/{found.pid}/ns/pid")
    except OSError:
        return set()
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and _namespace(name) == wanted}


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:  # it has ended, or is another user's
        return ""


def needs_cgroup(found: State, what: str) -> None:
    """Raise an Error if the container has none."""
    if not found.cgroup:
        disabled = "it was made with --cgroup-manager disabled"
        hint = delegated.GIVES if places.rootless() else disabled
        raise Error(f"container {found.id!r} can't be {what}: it has no cgroup of its own", hint)

"""A container's cgroups: made with limits and device rules, and joined by the processes that live in them."""

from __future__ import annotations

import os

from lxcfs_py.cgroup import control
from lxcfs_py.cgroup.layout import UNIFIED
from runtime import devices
from runtime import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.host import Host


def _open(layout: Layout, path: str) -> int:
    return os.open(layout.hierarchies[UNIFIED].directory(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def make(host: Host, layout: Layout, path: str, limits: control.Limits, rules: list[dict[str, Any]]) -> None:
    """Make them; ``rules`` are OCI's for devices. Raises an Error naming file and value."""
    control.create(host, layout, path, limits)
    if "devices" in layout.hierarchies:
        control.deny_devices(layout, path, devices.v1_rules(rules))
    elif UNIFIED in layout.hierarchies:
        directory = _open(layout, path)
        try:
            sc.attach_device_program(devices.bpf_program(rules), directory)
        finally:
            os.close(directory)


def clone(flags: int, layout: Layout, path: str) -> tuple[int, tuple[str, ...]]:
    """Fork into new namespaces and into cgroup2; return the pid and the doors that are left for the child to enter.

    Kernels before 5.7 have no CLONE_INTO_CGROUP: there the child enters cgroup2 as it enters the others.
    """
    doors = control.doors(layout, path)
    if UNIFIED not in layout.hierarchies:
        return sc.clone(flags), doors
    directory = _open(layout, path)
    try:
        return sc.clone(flags, directory), tuple(door for door in doors if not door.endswith(control.V2_DOOR))
    except OSError:
        return sc.clone(flags), doors
    finally:
        os.close(directory)

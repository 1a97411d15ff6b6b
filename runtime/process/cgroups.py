"""A container's cgroups: made with limits and device rules, and joined by the processes that live in them."""

from __future__ import annotations

import os

from lxcfs_py.cgroup import control
from lxcfs_py.cgroup.layout import UNIFIED, Layout
from lxcfs_py.procfs import proc_cgroup
from runtime.errors import RunError
from runtime.kernel import device_program
from runtime.kernel import syscalls as sc
from runtime.process import devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lxcfs_py.host import Host


def path(asked: str, id_: str) -> str:
    """Return the cgroup of ``linux.cgroupsPath``: an absolute path as it is, others below ours (config-linux.md)."""
    if asked.count(":") == 2:
        hint = "set a path; the slice:prefix:name form is the systemd manager's"
        raise RunError(f"config.json: linux.cgroupsPath: {asked!r} is a systemd unit, and cgroupfs takes paths", hint)
    whole = os.path.normpath(asked if asked.startswith("/") else f"{control.OURS}/{asked or id_}")
    if ".." in asked.split("/") or "/" + whole.strip("/") in ("/", control.OURS):
        raise RunError(f"config.json: linux.cgroupsPath: {asked!r} can't be a container's cgroup", "set /parent/name")
    return "/" + whole.lstrip("/")


def _open(layout: Layout, path: str) -> int:
    return os.open(layout.hierarchies[UNIFIED].directory(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def delegated(proc: str, layout: Layout) -> str | None:
    """Return the topmost cgroup2 above our own that is ours to fill (cgroup-v2.rst, "Delegation"), None for none.

    v1 is never left to ordinary users: there who owns a cgroup could lift the limits of those above.
    """
    unified = layout.hierarchies.get(UNIFIED)
    if unified is None:
        return None
    with open(f"{proc}/self/cgroup", "rb") as file:
        at = proc_cgroup.parse(file.read()).get(UNIFIED, "")
    found = None
    while at and _fillable(unified.directory(at)):
        found, at = at, ("" if at == "/" else os.path.dirname(at))
    return found


def _fillable(directory: str) -> bool:
    files = (directory, f"{directory}/cgroup.procs", f"{directory}/cgroup.subtree_control")
    return all(os.access(file, os.W_OK) for file in files)


def place(layout: Layout, asked: str, id_: str, own: str | None = "") -> tuple[Layout, str]:
    """Return the hierarchies a container's cgroup is made in, and its path; none and "" where it can't have one.

    ``own`` is "" if we may make it anywhere, else what is ours (``delegated``): of cgroup2 alone, with those
    controllers that are, or can be, enabled there.
    """
    if own == "":
        return layout, path(asked, id_)
    if own is None:
        return Layout({}), ""
    unified = layout.hierarchies[UNIFIED]
    directory = unified.directory(own)
    inhabited = bool(control.read(f"{directory}/cgroup.procs").strip())  # then none can be enabled
    file = "cgroup.subtree_control" if inhabited and own != "/" else "cgroup.controllers"
    offered = tuple(control.read(f"{directory}/{file}").decode().split())
    below = path("" if asked.count(":") == 2 else asked, id_)
    whole = below if below.startswith(f"{own}/") else f"{own.rstrip('/')}{below}"
    return Layout({UNIFIED: unified.replace(controllers=offered)}), whole


CONTROLLED = {"cpuset_": "cpuset", "cpu_": "cpu", "memory_": "memory", "swap_": "memory", "oom_": "memory",
              "pids_": "pids", "io": "io", "hugetlb": "hugetlb", "rdma": "rdma", "net_": "net_cls"}  # fmt: skip
"""What the names of limits begin with, and the controller they take."""


def enforced(limits: control.Limits, everything: Layout, layout: Layout) -> tuple[control.Limits, tuple[str, ...]]:
    """Return the limits ``layout`` can hold, and the controllers that are missing there for the others.

    Only where it is not all of the host's: there a limit that can't be held is an Error.
    """
    if layout is everything:
        return limits, ()
    usual, missing = control.Limits(), []
    have = layout.hierarchies[UNIFIED].controllers if UNIFIED in layout.hierarchies else ()
    for name, value in limits.as_dict().items():
        if value == getattr(usual, name):
            continue
        if name == "unified":
            lacking = [file for file in value if file.partition(".")[0] not in (*have, "cgroup")]
            missing += [file.partition(".")[0] for file in lacking]
            limits = limits.replace(unified={file: value[file] for file in value if file not in lacking})
            continue
        controller = next(controller for prefix, controller in CONTROLLED.items() if name.startswith(prefix))
        if controller not in have:
            missing.append(controller)
            limits = limits.replace(**{name: getattr(usual, name)})
    return limits, tuple(dict.fromkeys(missing))


def make(host: Host, layout: Layout, path: str, limits: control.Limits, rules: list[dict[str, Any]] | None) -> None:
    """Make them; ``rules`` are OCI's for devices, None if they aren't ours to set: then what devices can be opened
    is decided by their owner and mode. Raises an Error naming file and value.
    """
    if not layout.hierarchies:
        return
    control.create(host, layout, path, limits)
    if rules is not None:
        judge(layout, path, rules)


def update(host: Host, layout: Layout, path: str, resources: Mapping[str, Any]) -> None:
    """Change what ``linux.resources`` names, and leave the rest; raises an Error naming file and value.

    Without ``devices`` the rules stay; with them they are all replaced, on cgroup2 in one step.
    """
    from runtime.process import resources as converted

    limits = converted.limits(resources)
    if (resources.get("memory") or {}).get("checkBeforeUpdate"):
        control.check(layout, path, limits)
    control.update(host, layout, path, limits)
    if resources.get("devices"):
        judge(layout, path, resources["devices"])


def judge(layout: Layout, path: str, rules: list[dict[str, Any]]) -> None:
    """Have OCI's rules for devices hold from now on, and the usual devices be there (``devices.complete``)."""
    rules = devices.complete(rules)
    if "devices" in layout.hierarchies:
        have = control.device_list(layout, path)
        control.judge_devices(layout, path, devices.v1_changes(have, rules))
    elif UNIFIED in layout.hierarchies:
        directory = _open(layout, path)
        try:
            device_program.attach(devices.bpf_program(rules), directory)
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

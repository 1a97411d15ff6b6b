"""A container's cgroups: made with limits and device rules, and joined by the processes that live in them."""

from __future__ import annotations

import os

from lxcfs_py.cgroup import control
from lxcfs_py.cgroup.layout import UNIFIED
from lxcfs_py.procfs import proc_cgroup
from runtime import places
from runtime.errors import RunError
from runtime.kernel import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.host import Host
    from runtime.request import Request
    from runtime.systemd.scope import Unit


def path(asked: str, id_: str) -> str:
    """Return the cgroup of ``linux.cgroupsPath``: an absolute path as it is, others below ours (config-linux.md)."""
    if asked.count(":") == 2:
        hint = "give --systemd-cgroup, or set a path"
        raise RunError(f"config.json: linux.cgroupsPath: {asked!r} is a systemd unit, and cgroupfs takes paths", hint)
    whole = os.path.normpath(asked if asked.startswith("/") else f"{control.OURS}/{asked or id_}")
    if ".." in asked.split("/") or "/" + whole.strip("/") in ("/", control.OURS):
        raise RunError(f"config.json: linux.cgroupsPath: {asked!r} can't be a container's cgroup", "set /parent/name")
    return "/" + whole.lstrip("/")


def unit(request: Request, layout: Layout) -> Unit | None:
    """Return the systemd unit of ``linux.cgroupsPath`` if systemd is to make the cgroup.

    Raises an Error where this host has no such manager.
    """
    if request.manager != "systemd":
        return None
    return scoped(request, layout)


def scoped(request: Request, layout: Layout) -> Unit:
    """Return the unit, a user's in the slice of its own systemd."""
    from runtime.systemd import scope

    hint = "leave out --systemd-cgroup (podman --cgroup-manager=cgroupfs, dockerd native.cgroupdriver=cgroupfs)"
    if not os.path.isdir(places.BOOTED):
        raise RunError("the systemd cgroup manager: systemd does not run on this host", hint)
    if old := [name for name, hierarchy in layout.hierarchies.items() if hierarchy.version == 1]:
        raise RunError(f"the systemd cgroup manager: it takes cgroup v2 alone, and here is v1's {old[0]}", hint)
    if not manageable(layout):
        raise RunError("the systemd cgroup manager: it takes cgroup v2 alone, and here is v1", hint)
    usual = scope.USERS if places.unprivileged() else scope.SLICE
    return scope.unit(request.spec["linux"].get("cgroupsPath", ""), request.id, usual)


def manageable(layout: Layout) -> bool:
    """Say whether systemd's units are limited on cgroup2: it wants pids of all that has controllers."""
    return UNIFIED in layout.hierarchies and "pids" in layout.hierarchies[UNIFIED].controllers


def place(request: Request, unit_: Unit | None) -> str:
    """Return the path of the cgroup that is asked for; "" if it is to have none of its own."""
    if request.manager == "disabled":
        return ""
    if unit_ is None:
        return path(request.spec["linux"].get("cgroupsPath", ""), request.id)
    from runtime.systemd import scope

    return scope.manager() + unit_.path


def own(host: Host, layout: Layout, path: str) -> dict[str, str]:
    """Return the path by hierarchy, as the registry has it: of the container's cgroup, or of ours, which it is in."""
    if path:
        return {name: path for name in layout.hierarchies if not name.startswith("name=")}
    with open(f"{host.proc}/self/cgroup", "rb") as file:
        there = proc_cgroup.parse(file.read())
    return {name: where for name, where in there.items() if not name.startswith("name=")}


def ours(layout: Layout, path: str) -> Layout:
    """Return the hierarchies in which the container's cgroup isn't there yet, so that it will be ours to undo.

    Raises an Error if processes of somebody else's live in it: they would end with the container.
    """
    if path and (there := len(control.members(layout, path))):
        hint = "set a path of the container's own, or leave it out"
        raise RunError(f"config.json: linux.cgroupsPath: {path}: {there} processes are in that cgroup", hint)
    return control.absent(layout, path)


def start_scope(unit_: Unit, id_: str, limits: control.Limits, annotations: Mapping[str, str]) -> int:
    """Have systemd make a unit's cgroup; return the pid of what keeps it until ``scope.release``."""
    from runtime.systemd import scope

    return scope.start(unit_, id_, control.as_files(limits), annotations)


def _open(layout: Layout, path: str) -> int:
    return os.open(layout.hierarchies[UNIFIED].directory(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def make(
    host: Host,
    layout: Layout,
    path: str,
    limits: control.Limits,
    rules: list[dict[str, Any]] | None,
    *,
    there: bool = False,
) -> None:
    """Make them, unless they are ``there``, and limit them; ``rules`` are OCI's for devices.

    None if these aren't ours to set: then owner and mode decide. Raises an Error naming file and value.
    """
    (control.prepare if there else control.create)(host, layout, path, limits)
    if rules is not None:
        judge(layout, path, rules)


def update(host: Host, layout: Layout, path: str, resources: Mapping[str, Any], scoped: str = "") -> None:
    """Change what ``linux.resources`` names, and leave the rest; raises an Error naming file and value.

    ``scoped`` is the unit if systemd made it. Without ``devices`` the rules stay; with them they are all replaced, on
    cgroup2 in one step.
    """
    from runtime.process import resources as converted

    limits = converted.limits(resources)
    if (resources.get("memory") or {}).get("checkBeforeUpdate"):
        control.check(layout, path, limits)
    if scoped:
        from runtime.systemd import scope

        scope.change(scoped, control.as_files(limits))
    control.update(host, layout, path, limits)
    if resources.get("devices"):
        judge(layout, path, resources["devices"])


def judge(layout: Layout, path: str, rules: list[dict[str, Any]]) -> None:
    """Have OCI's rules for devices hold from now on, and the usual devices be there (``devices.complete``)."""
    from runtime.process import devices

    rules = devices.complete(rules)
    if "devices" in layout.hierarchies:
        have = control.device_list(layout, path)
        control.judge_devices(layout, path, devices.v1_changes(have, rules))
    elif UNIFIED in layout.hierarchies:
        directory = _open(layout, path)
        try:
            from runtime.kernel import device_program

            device_program.attach(devices.bpf_program(rules), directory)
        finally:
            os.close(directory)


def clone(flags: int, layout: Layout, path: str, user_unit: str = "") -> tuple[int, tuple[str, ...]]:
    """Fork into new namespaces and into cgroup2; return the pid and the doors that are left for the child to enter.

    Kernels before 5.7 have no CLONE_INTO_CGROUP: there the child enters cgroup2 as it enters the others. From a
    session that is not below a user's own systemd its units can't be entered (cgroup-v2.rst, "Delegation
    Containment"): that moves the child.
    """
    doors = control.doors(layout, path)
    if UNIFIED not in layout.hierarchies:
        return sc.clone(flags), doors
    directory = _open(layout, path)
    try:
        return sc.clone(flags, directory), tuple(door for door in doors if not door.endswith(control.V2_DOOR))
    except OSError as error:
        if user_unit and isinstance(error, PermissionError):
            return _moved(flags, path, user_unit), ()
        return sc.clone(flags), doors
    finally:
        os.close(directory)


def _moved(flags: int, path: str, unit_: str) -> int:
    """Fork; the child goes on once systemd has moved it."""
    from runtime.systemd import scope

    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = sc.clone(flags)
    if pid == 0:
        os.close(writer)
        if not os.read(reader, 1):  # our maker has gone
            os._exit(1)
        os.close(reader)
        return 0
    os.close(reader)
    try:
        scope.attach(path, unit_, pid)
        os.write(writer, b"!")
    except BaseException:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(writer)
    return pid

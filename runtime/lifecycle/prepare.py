"""What a container in the making is decided by: its place among the cgroups, the limits that hold there, its facts.

Nothing is made here. What it will lack is said.
"""

from __future__ import annotations

import os
import time

from lxcfs_py.served import PRESSURE
from runtime import places
from runtime.errors import RunError
from runtime.process import cgroups, resources
from runtime.root import plan
from runtime.state import CREATING, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.control import Limits
    from lxcfs_py.cgroup.layout import Layout
    from runtime.lifecycle.again import Before
    from runtime.lifecycle.create import Create
    from runtime.request import Request
    from runtime.root import rootfs
    from runtime.systemd.scope import Unit

RESOLV = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
"""The host's, and the one systemd-resolved leaves for those who can't reach it by the host's loopback."""


def place(request: Request, proc: str, detected: Layout, *, unprivileged: bool) -> tuple[Layout, str, Unit | None]:
    """Return the hierarchies a container's cgroup is made in, its path ("" for none), and its unit if it has one."""
    if unprivileged:
        from runtime.process import delegated

        return delegated.place(proc, detected, request)
    unit = cgroups.unit(request, detected)
    path = cgroups.place(request, unit)
    return detected if path else places.layout(""), path, unit


def state_of(request: Request, base: str, cgroup: str, before: Before | None) -> State:
    """Return what is written down of it at first."""
    directory = f"{request.root}/{request.id}"
    found = State(
        request.id,
        directory,
        request.bundle or directory,
        base,
        cgroup,
        time.time_ns(),
        tuple(request.spec["process"]["args"]),
        phase=CREATING,
        detached=request.detach,
        remove=request.remove,
        annotations=request.spec["annotations"],
    )
    if before is None:
        return found
    kept = ("created_nsec", "started_nsec", "exit_code")  # what it has been counts on until it runs again
    return found.replace(**{name: getattr(before.state, name) for name in kept})


def limits(create: Create) -> tuple[Limits, tuple[str, ...]]:
    """Return the limits its place can hold, and the controllers that lack for others; raises an Error."""
    request = create.request
    asked = resources.limits(request.spec["linux"]["resources"])
    if create.unprivileged:
        from runtime.process import delegated

        if not (create.cgroup or request.bundle or "pid" in create.spaces.fresh):
            raise RunError("--pid host without a cgroup: nothing tells its processes", delegated.GIVES)
        return delegated.enforced(asked, create.layout)
    if not create.cgroup and asked != type(asked)():
        raise RunError("--cgroup-manager disabled: limits need a cgroup", "leave them out")
    return asked, ()


def facts(create: Create, views: str) -> plan.Facts:
    """Return what its plan depends on; ``views`` is where the daemon serves, "" for the kernel's /proc."""
    request, proc = create.request, create.host.proc
    paths: tuple[str, ...] = ()
    if views:
        from lxcfs_py import serving

        paths = serving.paths(create.host, create.detected)
    found = plan.Facts(
        layout=create.layout,
        views=f"{views}/containers/{request.id}" if views and create.registers else views,
        view_paths=paths,
        masked=(f"/{PRESSURE}",) if views and not any(path.startswith(PRESSURE) for path in paths) else (),
        nodes=not create.unprivileged,
    )
    if not request.bundle:
        from runtime.root import rootfs

        with open(f"{proc}/self/mountinfo", "rb") as file:
            root = rootfs.gather(request.lowers, create.base, file.read(), user=create.unprivileged)
        return found.replace(root=root, resolv=_resolv(create))
    if any(mount.get("uidMappings") for mount in request.spec["mounts"]):
        from runtime.root import idmap

        return found.replace(prepared=idmap.prepare(proc, request.bundle, request.spec["mounts"]))
    return found


def _resolv(create: Create) -> str:
    from runtime.config import joined
    from runtime.process import users

    has = create.request.network is not None if "network" in create.spaces.kinds else None
    texts = ("", "") if has is False else (users.read(path).decode("utf-8", "replace") for path in RESOLV)
    return joined.resolv(create.request.names, *texts, network=has)


def warn(create: Create, root: rootfs.Facts | None) -> None:
    """Say what it will not have."""
    if root and not create.parts:
        text = f"{create.request.storage} ({root.fstype}) can't carry an overlay's upper layer"
        os.write(2, f"pyproc-run: {text}: a tmpfs does, and what is written counts as memory\n".encode())
    if create.unlimited:
        from runtime.process import delegated

        os.write(2, f"pyproc: {delegated.lacking(create.unlimited, create.unit)}\n".encode())

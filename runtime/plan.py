"""What starting a container takes, decided before anything is done: a list of steps, pure."""

from __future__ import annotations

import os

from lxcfs_py.record import Record
from lxcfs_py.served import PRESSURE
from runtime import rootfs
from runtime.steps import (
    Await,
    CgroupNamespace,
    Directory,
    DropOld,
    Freeze,
    Hostname,
    Link,
    Loopback,
    Mask,
    Mount,
    Node,
    Pivot,
    Private,
    ReadOnly,
    Step,
    Text,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.layout import Layout
    from runtime.request import Request

DEV_LINKS = (
    ("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin"), ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"), ("pts/ptmx", "/dev/ptmx"), ("/proc/kcore", "/dev/core"),
)  # fmt: skip


class Facts(Record):
    """What of the host decides what is done."""

    root: rootfs.Facts
    layout: Layout
    views: str = ""
    """The daemon's mount point, "" for the kernel's own /proc."""
    view_paths: tuple[str, ...] = ()
    """What is bound from there: ``proc/meminfo``, ..."""
    masked: tuple[str, ...] = ()
    """What would show the host's figures, and no view replaces."""
    resolv: str = ""
    """The text of resolv.conf."""


def cgroup_mounts(layout: Layout, options: tuple[str, ...]) -> list[Step]:
    """Return the mounts that show the container its own cgroups at /sys/fs/cgroup, as its host's are."""
    names = {name: h for name, h in layout.hierarchies.items() if not name.startswith("name=")}
    if not any(h.version == 1 for h in names.values()):
        return [Mount("cgroup2", "/sys/fs/cgroup", "cgroup2", options)] if names else []
    found: list[Step] = [Mount("tmpfs", "/sys/fs/cgroup", "tmpfs", ("nosuid", "nodev", "noexec", "mode=755"))]
    for mount, hierarchy in {h.mount: h for h in names.values()}.items():
        at = f"/sys/fs/cgroup/{os.path.basename(mount)}"
        if hierarchy.version == 2:
            found.append(Mount("cgroup2", at, "cgroup2", options))
        else:
            found.append(Mount("cgroup", at, "cgroup", (*options, *hierarchy.controllers)))
    return [*found, Freeze("/sys/fs/cgroup")]


def _view(request: Request, facts: Facts, old: str, path: str) -> Step:
    """Return the bind of a view; a pressure file is written to (psi.rst), which a read-only mount would refuse."""
    options = ("bind",) if path.startswith(f"{PRESSURE}/") else ("bind", "ro")
    return Mount(f"/{old}{facts.views}/containers/{request.id}/{path}", f"/{path}", "bind", options)


def _mounts(request: Request, facts: Facts, old: str) -> list[Step]:
    found: list[Step] = []
    for mount in request.spec["mounts"]:
        target, fstype, options = mount["destination"], mount["type"], tuple(mount["options"])
        if fstype == "cgroup":
            found += cgroup_mounts(facts.layout, tuple(o for o in options if o != "relatime"))
        elif fstype == "bind":
            found.append(Mount(f"/{old}{mount['source']}", target, "bind", options))
        else:
            found.append(Mount(mount["source"], target, fstype, options))
            if target in ("/proc", "/sys"):  # before anything could cover them
                found += [_view(request, facts, old, p) for p in facts.view_paths if f"/{p}".startswith(f"{target}/")]
    return found


def _etc(request: Request, base: str, facts: Facts, old: str) -> tuple[list[Step], list[Step]]:
    """Return how the container's own files of /etc are written, and how they are bound."""
    name = request.spec["hostname"]
    texts = {
        "hostname": f"{name}\n",
        "hosts": f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{name}\n",
        "resolv.conf": facts.resolv,
    }
    write: list[Step] = [Text(f"{base}/etc/{file}", text) for file, text in texts.items()]
    bind: list[Step] = [Mount(f"/{old}{base}/etc/{file}", f"/etc/{file}", "bind", ("bind",)) for file in texts]
    return write, bind


def build(request: Request, base: str, facts: Facts, old: str, go: int) -> list[Step]:
    """Return what is done in the container's namespaces, in order.

    ``old`` is the name of the host's / meanwhile, ``go`` the descriptor on which the parent says that it is ready.
    """
    spec = request.spec
    kinds = {namespace["type"] for namespace in spec["linux"]["namespaces"]}
    root, made = rootfs.steps(request.rootfs, base, facts.root)
    write, bind = _etc(request, base, facts, old)
    return [
        CgroupNamespace(),
        Private(),
        *write,
        *made,
        Await(go),  # as late as can be: only the views need the registration
        Pivot(root, old),
        Directory("/etc"),
        *_mounts(request, facts, old),
        *bind,
        *(Node(d["path"], d["major"], d["minor"], d["fileMode"], d["type"] == "b") for d in spec["linux"]["devices"]),
        *(Link(target, path) for target, path in DEV_LINKS),
        *map(ReadOnly, spec["linux"]["readonlyPaths"]),
        *map(Mask, (*spec["linux"]["maskedPaths"], *facts.masked)),
        DropOld(old),
        *(map(Freeze, rootfs.mounted(request.rootfs, facts.root)) if spec["root"]["readonly"] else ()),
        Hostname(spec["hostname"]),
        *([Loopback()] if "network" in kinds else []),
    ]

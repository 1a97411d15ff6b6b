"""``pyproc info``: how the whole is: the host, the daemon that serves /proc, the storage, and counts."""

from __future__ import annotations

import os
import sys

from runtime.options import JSON
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from runtime.command_line import Parsed

VERB = Verb("info", "Show how the whole is: host, daemon, storage, containers, images.", "", 0, 0, (JSON,))


def cgroup_version(layout: Layout) -> str:
    """Return ``v2``, ``v1`` or ``hybrid``."""
    versions = {h.version for name, h in layout.hierarchies.items() if not name.startswith("name=")}
    return "hybrid" if len(versions) > 1 else f"v{versions.pop()}" if versions else "none"


def _daemon() -> dict[str, Any]:
    from lxcfs_py import announcement
    from runtime.lifecycle import daemon
    from runtime.places import host

    mount, found = daemon.serving(host()), announcement.read(host())
    if not mount or found is None:
        return {"serves": False}
    return {"serves": True, "mountpoint": mount, "pid": found.pid, "version": found.version}


def _storage(path: str) -> dict[str, Any]:
    from lxcfs_py.procfs import mountinfo

    with open("/proc/self/mountinfo", "rb") as file:
        fstype = mountinfo.fstype_at(mountinfo.parse(file.read()), path)
    there = path
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    about = os.statvfs(there)
    return {
        "path": path,
        "filesystem": fstype,
        "holds_layers": mountinfo.carries_upper(fstype),
        "size_bytes": about.f_blocks * about.f_frsize,
        "free_bytes": about.f_bavail * about.f_frsize,
    }


def gather(root: str, storage: str) -> dict[str, Any]:
    """Return it as JSON values."""
    from lxcfs_py import __version__
    from runtime import places
    from runtime.images.store import Store
    from runtime.lifecycle import listing
    from runtime.state import OCI_VERSION

    there, about = places.layout("/"), os.uname()
    with open("/proc/meminfo", "rb") as file:
        memory = int(file.readline().split()[1]) << 10
    found = [each["status"] for each in listing.gather(root, storage)]
    return {
        "version": __version__,
        "oci_version": OCI_VERSION,
        "name": about.nodename,
        "kernel": about.release,
        "architecture": about.machine,
        "cpus": os.cpu_count(),
        "memory_bytes": memory,
        "cgroup_version": cgroup_version(there),
        "controllers": sorted(set(there.hierarchies) - {""} | set(there.hierarchies[""].controllers))
        if "" in there.hierarchies
        else sorted(there.hierarchies),
        "systemd": os.path.isdir("/run/systemd/system"),
        "daemon": _daemon(),
        "root": root,
        "storage": _storage(storage),
        "containers": {"total": len(found), **{status: found.count(status) for status in listing.STATUSES}},
        "images": len(Store(storage).entries()),
    }


def warnings(found: dict[str, Any]) -> Iterator[str]:
    """Yield what is not as it should be, and the remedy."""
    from runtime import places

    if not found["daemon"]["serves"]:
        who = "root can start one with lxcfs-py serve" if places.unprivileged() else "the next pyproc-run starts one"
        yield f"no lxcfs-py daemon serves: {who}"
    if not found["storage"]["holds_layers"]:
        fstype = found["storage"]["filesystem"]
        yield f"{fstype} can't carry an overlay's upper layer: what containers write is memory"
    if found["storage"]["free_bytes"] * 20 < found["storage"]["size_bytes"]:
        yield "the storage is nearly full: pyproc prune frees space"
    if found["containers"]["broken"]:
        yield "the state of some containers can't be read: pyproc list names them"


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what people are shown."""
    from runtime.images.progress import size

    daemon, storage, counts = found["daemon"], found["storage"], found["containers"]
    yield f"lxcfs-py {found['version']} on {found['name']}: Linux {found['kernel']}, {found['architecture']}"
    yield f"  {found['cpus']} CPUs, {size(found['memory_bytes'])} memory"
    systemd = "runs" if found["systemd"] else "does not run"
    yield f"  cgroup {found['cgroup_version']} ({' '.join(found['controllers'])}), systemd {systemd}"
    serves = (
        f"pid {daemon['pid']}, version {daemon['version']}, at {daemon['mountpoint']}" if daemon["serves"] else "none"
    )
    yield f"daemon: {serves}"
    free = f"{size(storage['free_bytes'])} of {size(storage['size_bytes'])} free"
    yield f"storage: {storage['path']} ({storage['filesystem']}), {free}"
    each = ", ".join(f"{count} {status}" for status, count in counts.items() if count and status != "total")
    yield f"containers: {counts['total']}" + (f" ({each})" if each else "")
    yield f"images: {found['images']}"
    yield from (f"warning: {text}" for text in warnings(found))


def run(parsed: Parsed) -> int:
    """Print it."""
    found = gather(parsed["root"], parsed["storage"])
    if parsed["json"]:
        import json

        sys.stdout.write(json.dumps({**found, "warnings": list(warnings(found))}) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(found)))
    return 0

"""What outlives a supervisor: the mount's descriptor, the memory its workers share, a record of both, and stores.

A keeper holds the descriptors meanwhile: systemd's store (sd_pid_notify_with_fds(3)), or ``holder``'s process.
"""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING, Any, Self

from lxcfs_py import loads, nodes, process, store
from lxcfs_py.daemon import mount
from lxcfs_py.daemon.processes import BYTES, FACTS_BYTES, GENERATIONS, Processes, Template
from lxcfs_py.fuse import protocol
from lxcfs_py.seccomp import protocol as seccomp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.host import Host

WORKERS = ("fuse", "memory", "table", "loads", "counters", "record")
"""What the workers have: the mount's descriptor, and memory they share."""
MEMORY = (*WORKERS[1:], "calls")
"""All that is shared; ``calls`` by the agents of seccomp alone (seccomp.protocol)."""
STORES = ("listeners", "triggers")
"""Stores of descriptors (lxcfs_py.store), each by its two ends."""
NAMES = ("fuse", *MEMORY, *(f"{name}-{end}" for name in STORES for end in ("in", "out")))
LAYOUT = 6
"""Of all that is shared but ``PARTS``. Memory of another layout is left alone; files opened before then fail with
EBADF, and are served when they are opened again.
"""
PARTS = {
    "table": (nodes.LAYOUT, ("table",)),
    "loads": (loads.LAYOUT, ("loads",)),
    "calls": (seccomp.LAYOUT, ("calls", "listeners-in", "listeners-out")),
}
"""What has a layout of its own, and is taken over also where the rest is begun anew: the numbers of files that
containers have bound, load averages, and the listeners of containers' seccomp filters.
"""


class Session:
    """One mount. Its descriptors are inherited by whoever is started."""

    def __init__(self, descriptors: Mapping[str, int], mountpoint: str, init: protocol.Init, workers: int) -> None:
        self.descriptors = descriptors
        self.mountpoint, self.init, self.workers = mountpoint, init, workers
        self.begun: Mapping[str, int] = {}
        """What of it is new, so that a keeper has to be given it."""
        self.former: Processes | None = None
        """Who served with memory of another layout."""
        self.processes = Processes(descriptors["record"])

    @classmethod
    def make(cls, mountpoint: str, workers: int, *, nonempty: bool) -> Self:
        """Mount; raises an Error if that can't be."""
        mount.prepare(mountpoint, nonempty=nonempty)
        fuse, init = mount.mount(mountpoint)
        session = cls.begin({"fuse": fuse}, mountpoint, init, workers)
        session.begun = session.descriptors
        return session

    @classmethod
    def begin(cls, kept: Mapping[str, int], mountpoint: str, init: protocol.Init, workers: int) -> Self:
        """Begin a session with a mount and whatever else is ``kept`` of a session before."""
        begun = {name: os.memfd_create(f"lxcfs-py-{name}") for name in MEMORY if name not in kept}
        for name in STORES:
            if f"{name}-in" not in kept:
                begun[f"{name}-in"], begun[f"{name}-out"] = store.ends()
        begun["record"] = begun.pop("record")  # a keeper is given it last: what it says of the others is true by then
        facts: dict[str, Any] = {"layout": LAYOUT, **{name: layout for name, (layout, _) in PARTS.items()}}
        facts |= {"mountpoint": mountpoint, "workers": workers, "init": init.as_dict()}
        os.ftruncate(begun["record"], BYTES)
        os.pwrite(begun["record"], json.dumps(facts).encode().ljust(FACTS_BYTES, b"\0"), 0)
        session = cls({**kept, **begun}, mountpoint, init, workers)
        session.begun = begun
        return session

    @classmethod
    def adopt(cls, descriptors: Mapping[str, int], mountpoint: str) -> Self | None:
        """Take a session over; None if this is none, or its mount has gone."""
        there = mount.mounted(mountpoint)
        return None if there is None or there.fstype != mount.FSTYPE else cls.taken_over(descriptors, mountpoint)

    @classmethod
    def taken_over(cls, descriptors: Mapping[str, int], mountpoint: str) -> Self | None:
        """Return the session of these descriptors: all of it, or what another version's has that is as ours."""
        if not {"fuse", "record"} <= set(descriptors):
            return None
        try:
            facts = json.loads(os.pread(descriptors["record"], FACTS_BYTES, 0).rstrip(b"\0"))
            init, workers = protocol.Init.known(facts["init"]), int(facts["workers"])
            if facts["mountpoint"] != mountpoint:
                return None
            same = [names for part, (layout, names) in PARTS.items() if facts.get(part) == layout]
            if facts["layout"] == LAYOUT and len(same) == len(PARTS) and set(descriptors) == set(NAMES):
                return cls(descriptors, mountpoint, init, workers)
            kept = {name: descriptors[name] for name in ("fuse", *itertools.chain(*same))}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        found = cls.begin(kept, mountpoint, init, workers)
        found.former = Processes(descriptors["record"])
        return found

    def store(self, name: str) -> store.Store:
        """Return one of ``STORES``."""
        return store.Store(self.descriptors[f"{name}-in"], self.descriptors[f"{name}-out"])

    def templates(self, host: Host) -> dict[int, Template]:
        """Return the templates whose workers serve, by generation."""
        return living(self.processes, host)


def living(processes: Processes, host: Host) -> dict[int, Template]:
    """Return the templates that live, by generation."""
    found = {generation: processes.template(generation) for generation in GENERATIONS}
    return {
        generation: template
        for generation, template in found.items()
        if template.pid > 0 and process.alive(host, template.pid, template.start_ticks)
    }

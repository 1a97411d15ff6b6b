"""What containers use of what they may: figures of two moments, and what lies between them."""

from __future__ import annotations

import os
import time

from lxcfs_py.cgroup import Cgroups
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.files import Files
from lxcfs_py.procfs import meminfo
from lxcfs_py.record import Record
from runtime import state
from runtime.places import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runtime.state import State


class Sample(Record):
    """One container at one moment. What it has written and read is since its cgroup was made; without one it, CPU
    time, memory and processes are None.
    """

    when_nsec: int
    cpu_usec: int | None
    cpus: float
    """How many CPUs it may use at once."""
    memory_bytes: int | None
    """As Docker counts: without file pages that were not used lately."""
    limit_bytes: int
    pids: int | None
    read_bytes: int | None = 0
    written_bytes: int | None = 0
    received_bytes: int | None = None
    """None: it has the host's network."""
    sent_bytes: int | None = None


def network(text: str) -> tuple[int, int]:
    """Return the bytes received and sent by all interfaces but the loopback, of /proc/PID/net/dev."""
    rows = (line.partition(":") for line in text.splitlines()[2:])
    fields = [words.split() for name, _, words in rows if name.strip() != "lo"]
    return sum(int(row[0]) for row in fields), sum(int(row[8]) for row in fields)


class Reader:
    """Takes samples of containers."""

    def __init__(self) -> None:
        self.host, self.files = host(), Files()
        self.cgroups = Cgroups(self.host, self.files)
        self.memory_bytes = meminfo.parse(self.files.read(f"{self.host.proc}/meminfo"))["MemTotal"]
        self.cpus = len(os.sched_getaffinity(0))

    def sample(self, found: State) -> Sample | None:
        """Return how things stand; None if the container does not run."""
        if not state.alive(found.pid, found.start_ticks, self.host):
            return None
        received, sent = self._network(found.pid)
        passed = {"received_bytes": received, "sent_bytes": sent}
        if not found.cgroup:
            now = time.monotonic_ns()
            return Sample(now, None, self.cpus, None, self.memory_bytes, None, None, None, **passed)
        cgroup = Cgroup(dict.fromkeys(self.cgroups.layout.hierarchies, found.cgroup))
        levels = self.cgroups.memory(cgroup)
        limits = [level.limit_bytes for level in levels if level.limit_bytes is not None]
        used = self.cgroups.cpu_time(cgroup)
        cpuset, quota = self.cgroups.cpuset(cgroup), self.cgroups.cpu_quota(cgroup)
        devices = self.cgroups.devices(cgroup)
        return Sample(
            time.monotonic_ns(),
            used.usage_usec if used else 0,
            min(filter(None, (len(cpuset or ()), quota, self.cpus))),
            max(0, levels[0].usage_bytes - levels[0].stat.get("inactive_file", 0)) if levels else 0,
            min([self.memory_bytes, *limits]),
            self.cgroups.tasks(cgroup),
            sum(device.read_bytes for device in devices),
            sum(device.write_bytes for device in devices),
            **passed,
        )

    def _network(self, pid: int) -> tuple[int | None, int | None]:
        place = f"{self.host.proc}/{pid}"
        try:
            if os.stat(f"{place}/ns/net").st_ino == os.stat(f"{self.host.proc}/self/ns/net").st_ino:
                return None, None
            return network(self.files.read(f"{place}/net/dev").decode())
        except OSError:  # it has just ended
            return None, None


def cpu_percent(before: Sample, after: Sample) -> float | None:
    """Return the CPU time used between two samples, in per cent of one CPU; None if it is not known."""
    if before.cpu_usec is None or after.cpu_usec is None:
        return None
    passed = after.when_nsec - before.when_nsec
    return round(max(0, after.cpu_usec - before.cpu_usec) * 100_000 / passed, 2) if passed > 0 else 0.0


def memory_percent(now: Sample) -> float | None:
    """Return the memory in use, in per cent of the limit; None if it is not known."""
    if now.memory_bytes is None:
        return None
    return round(now.memory_bytes * 100 / now.limit_bytes, 2) if now.limit_bytes else 0.0


def between(before: Mapping[str, Sample], after: Mapping[str, Sample]) -> list[dict[str, Any]]:
    """Return what is told of each container of the later samples, as JSON values."""
    return [
        {
            "id": id_,
            "cpu_percent": cpu_percent(before.get(id_, now), now),
            "cpus": round(now.cpus, 2),
            "memory_bytes": now.memory_bytes,
            "memory_limit_bytes": now.limit_bytes,
            "memory_percent": memory_percent(now),
            "received_bytes": now.received_bytes,
            "sent_bytes": now.sent_bytes,
            "read_bytes": now.read_bytes,
            "written_bytes": now.written_bytes,
            "pids": now.pids,
        }
        for id_, now in after.items()
    ]

"""What a container uses, in the words of ``runc events`` (its types/events.go)."""

from __future__ import annotations

from lxcfs_py.cgroup.parse import flat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.host import Host

UNLIMITED = (1 << 64) - 1
"""What stands for no limit in an unsigned number."""


class _Reader:
    def __init__(self, layout: Layout, cgroup: str) -> None:
        self.layout, self.cgroup = layout, cgroup

    def text(self, controller: str, v1: str, v2: str) -> str:
        """Return a controller's file, "" where there is none."""
        hierarchy = self.layout.which(controller)
        name = "" if hierarchy is None else v1 if hierarchy.version == 1 else v2
        if hierarchy is None or not name:
            return ""
        try:
            with open(f"{hierarchy.directory(self.cgroup)}/{name}", encoding="utf-8") as file:
                return file.read().strip()
        except OSError:
            return ""

    def number(self, controller: str, v1: str, v2: str) -> int:
        """Return a file's number; ``max`` is unlimited, absence 0."""
        text = self.text(controller, v1, v2)
        return UNLIMITED if text == "max" else int(text) if text.isdigit() else 0

    def table(self, controller: str, v1: str, v2: str) -> dict[str, int]:
        """Return a flat keyed file."""
        return dict(flat(self.text(controller, v1, v2).encode()))


def _cpu(read: _Reader) -> dict[str, Any]:
    throttled = read.table("cpu", "cpu.stat", "cpu.stat")
    if read.layout.which("cpuacct") is not None:
        ticks = 10_000_000  # USER_HZ is 100 on all that is supported
        parts = read.table("cpuacct", "cpuacct.stat", "")
        per_cpu = [int(word) for word in read.text("cpuacct", "cpuacct.usage_percpu", "").split()]
        usage: dict[str, Any] = {
            "total": read.number("cpuacct", "cpuacct.usage", ""), "percpu": per_cpu,
            "kernel": parts.get("system", 0) * ticks, "user": parts.get("user", 0) * ticks,
        }  # fmt: skip
    else:
        times = read.table("cpu_time", "", "cpu.stat")
        usage = {
            "total": times.get("usage_usec", 0) * 1000, "kernel": times.get("system_usec", 0) * 1000,
            "user": times.get("user_usec", 0) * 1000,
        }  # fmt: skip
    time_nsec = throttled.get("throttled_time", throttled.get("throttled_usec", 0) * 1000)
    return {
        "usage": usage,
        "throttling": {
            "periods": throttled.get("nr_periods", 0),
            "throttledPeriods": throttled.get("nr_throttled", 0),
            "throttledTime": time_nsec,
        },
    }


def _memory(read: _Reader) -> dict[str, Any]:
    raw = read.table("memory", "memory.stat", "memory.stat")

    def entry(v1: str, v2: str, v2_max: str) -> dict[str, int]:
        return {
            "limit": read.number("memory", f"memory.{v1}limit_in_bytes", v2_max),
            "usage": read.number("memory", f"memory.{v1}usage_in_bytes", v2),
            "max": read.number("memory", f"memory.{v1}max_usage_in_bytes", v2.replace("current", "peak")),
            "failcnt": read.number("memory", f"memory.{v1}failcnt", ""),
        }

    return {
        "cache": raw.get("cache", raw.get("file", 0)),
        "usage": entry("", "memory.current", "memory.max"),
        "swap": entry("memsw.", "memory.swap.current", "memory.swap.max"),
        "raw": raw,
    }


def _blkio(read: _Reader) -> dict[str, Any]:
    names = {"ioServiceBytesRecursive": ("rbytes", "wbytes"), "ioServicedRecursive": ("rios", "wios")}
    files = ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive")
    found: dict[str, Any] = {}
    for (name, keys), file in zip(names.items(), files, strict=True):
        rows = []
        for line in read.text("blkio", file, "").splitlines():
            device, *rest = line.split()
            if len(rest) == 2 and ":" in device:
                rows.append((device, rest[0], int(rest[1])))
        for line in read.text("io", "", "io.stat").splitlines():
            device, *pairs = line.split()
            values = dict(pair.split("=") for pair in pairs)
            rows += [(device, op, int(values.get(key, 0))) for key, op in zip(keys, ("Read", "Write"), strict=True)]
        found[name] = [
            {"major": int(device.split(":")[0]), "minor": int(device.split(":")[1]), "op": op, "value": value}
            for device, op, value in rows
        ]
    return found


def gather(_host: Host, layout: Layout, cgroup: str) -> dict[str, Any]:
    """Return the figures of now."""
    read = _Reader(layout, cgroup)
    pids = {"current": read.number("pids", "pids.current", "pids.current")}
    limit = read.number("pids", "pids.max", "pids.max")
    return {
        "cpu": _cpu(read),
        "memory": _memory(read),
        "pids": {**pids, **({} if limit == UNLIMITED else {"limit": limit})},
        "blkio": _blkio(read),
        "hugetlb": {},
        "intel_rdt": {},
    }

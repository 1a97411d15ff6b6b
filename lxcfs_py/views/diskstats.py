"""proc/diskstats: the host's block devices that the container has used, with its own requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lxcfs_py.cgroup.api import DeviceUse
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/diskstats"
SECTOR_BYTES = 512
"""A sector of this file, whatever the device's (Documentation/admin-guide/iostats.rst)."""

COLUMNS = (
    "reads", "reads merged", "sectors read", "ms reading", "writes", "writes merged", "sectors written", "ms writing",
    "in flight", "ms busy", "ms waited", "discards", "discards merged", "sectors discarded", "ms discarding",
    "flushes", "ms flushing",
)  # fmt: skip
_COUNT = Rule("", v2=("io.stat",), v1=("blkio.throttle.io_serviced*",))
_SECTORS = _COUNT.replace(v1=("blkio.throttle.io_service_bytes*",))
LINES = {
    **{
        f"* {name}": _COUNT.replace(formula=f"the device's {v2}; v1: {v1}")
        for name, v2, v1 in (("reads", "rios", "Read"), ("writes", "wios", "Write"), ("discards", "dios", "Discard"))
    },
    **{
        f"* sectors {name}": _SECTORS.replace(formula=f"the device's {v2} / 512; v1: {v1} / 512")
        for name, v2, v1 in (
            ("read", "rbytes", "Read"),
            ("written", "wbytes", "Write"),
            ("discarded", "dbytes", "Discard"),
        )
    },
    "*": Rule("0: not known of a cgroup"),
}
"""Columns of a device."""


def rows(text: bytes, _cpus: Sequence[int]) -> dict[str, str]:
    """Return what ``explain`` shows of a text."""
    lines = (line.split() for line in text.decode("utf-8", "replace").splitlines())
    return {
        f"{words[2]} {column}": word
        for words in lines
        if len(words) > 3
        for column, word in zip(COLUMNS, words[3:], strict=False)
    }


def render(host: bytes, uses: Iterable[DeviceUse]) -> bytes:
    """Return the host's lines of these devices; merges, times, queue and flushes are not known of a cgroup: 0."""
    by_device = {use.device: use for use in uses}
    found = []
    for line in host.split(b"\n"):
        words = line.split()
        if len(words) < 4:
            continue
        use = by_device.get(b":".join(words[:2]).decode("ascii", "replace"))
        if use is None or not (use.reads or use.writes or use.discards):
            continue
        known = {
            0: use.reads, 2: use.read_bytes // SECTOR_BYTES, 4: use.writes, 6: use.write_bytes // SECTOR_BYTES,
            11: use.discards, 13: use.discard_bytes // SECTOR_BYTES,
        }  # fmt: skip
        columns = " ".join(str(known.get(at, 0)) for at in range(len(words) - 3))
        prefix = f"{words[0].decode('latin-1'):>4} {words[1].decode('latin-1'):>7} {words[2].decode('latin-1')}"
        found.append(f"{prefix} {columns}\n")
    return "".join(found).encode("latin-1")


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    return render(reader.host_bytes(PATH), reader.cgroups.devices(container.cgroup))

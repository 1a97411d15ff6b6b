"""proc/slabinfo: the caches charged to the container where the kernel lists them (v1, before 5.9), else none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.rule import Rule

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/slabinfo"
HEADER_LINES = 2
LINES = {
    "*": Rule("the cgroup's own text if it has any, else the host's header alone", v1=("memory.kmem.slabinfo",)),
}


def render(host: bytes, own: bytes) -> bytes:
    """Return the cgroup's own text if it has one, else the host's header."""
    if own.strip():
        return own
    header = host.split(b"\n", HEADER_LINES)[:HEADER_LINES]
    return b"\n".join(header).rstrip(b"\n") + b"\n"


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    return render(reader.host_bytes(PATH), reader.cgroups.slabinfo(container.cgroup))

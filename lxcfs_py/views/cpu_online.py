"""sys/devices/system/cpu/online: the CPUs the container sees, counted from 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.procfs import cpulist

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "sys/devices/system/cpu/online"


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    return f"{cpulist.render(range(len(reader.cpus(container))))}\n".encode()

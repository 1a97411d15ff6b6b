"""The files that are served, one module each; this is the one list of them.

``PATH`` is where it is below the mount point, ``read(reader, container)`` gathers, ``render`` decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from lxcfs_py.views import cpu_online, cpuinfo, meminfo, pressure, stat, uptime

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader


class View(Protocol):
    """What a module of this package offers."""

    PATH: str

    def read(self, reader: Reader, container: Container) -> bytes:
        """Return the text for a container; raises OSError if the host's own file can't be read."""


_MODULES: tuple[View, ...] = (cpuinfo, meminfo, stat, uptime, cpu_online, *pressure.FILES.values())
VIEWS: dict[str, View] = {module.PATH: module for module in _MODULES}

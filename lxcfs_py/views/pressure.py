"""proc/pressure/{cpu,io,irq,memory}: how long tasks of the container have waited for each (psi.rst).

The kernel counts it per cgroup2 alone. Where it does not count the container apart there is no such file.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from lxcfs_py.rule import Rule
from lxcfs_py.served import PRESSURE, STALLS

if TYPE_CHECKING:
    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader


_SOURCE = ("*.pressure:LINE",)
_RULE = Rule("the line of the container's cgroup2, beside v1 too, byte for byte", v2=_SOURCE, v1=_SOURCE)


class Pressure:
    """The file of one resource."""

    LINES: Final = dict.fromkeys(("some", "full"), _RULE)

    def __init__(self, resource: str) -> None:
        self.PATH = f"{PRESSURE}/{resource}"
        self._file = f"{resource}.pressure"

    def host(self, reader: Reader) -> str:
        """Return the path of the kernel's own file, which is the whole machine's."""
        return f"{reader.host.proc}/{self.PATH.removeprefix('proc/')}"

    def source(self, reader: Reader, container: Container) -> str | None:
        """Return the path of the cgroup's file, None if the container has no cgroup2 of its own."""
        directory = reader.cgroups.unified(container.cgroup)
        return f"{directory}/{self._file}" if directory else None

    def exists(self, reader: Reader, container: Container | None) -> bool:
        """Say whether there is such a file for a container; None: for any there may be on this host."""
        if container is None:
            top = reader.cgroups.layout.hierarchies.get("")
            path = f"{top.mount}/{self._file}" if top and self.mode(reader) else None
        else:
            path = self.source(reader, container)
        return path is not None and os.path.exists(path)

    def mode(self, reader: Reader) -> int:
        """Return the permissions of the kernel's own file: 0666, or 0644 before 6.5; 0 if there is none."""
        try:
            return os.stat(self.host(reader)).st_mode & 0o777
        except OSError:
            return 0

    def read(self, reader: Reader, container: Container) -> bytes:
        """Return the cgroup's text, in which all is the container's; raises OSError where there is none."""
        path = self.source(reader, container)
        if path is None:
            raise OSError(errno.EOPNOTSUPP, "its cgroup has no pressure of its own", self.PATH)
        return reader.files.read(path)


FILES = {file.PATH: file for file in map(Pressure, STALLS)}

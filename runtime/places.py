"""The host as the runtime sees it: the environment may say where its run-time directory is."""

from __future__ import annotations

import os

from lxcfs_py.host import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.cgroup.layout import Layout

VARIABLE = "LXCFS_PY_RUNTIME_DIR"
BOOTED = "/run/systemd/system"
"""Is there where systemd is running (sd_booted(3))."""


def host() -> Host:
    """Return the host, with the run-time directory the environment names."""
    return Host(run=os.environ.get(VARIABLE, "/run"))


def layout(cgroup: str) -> Layout:
    """Return the hierarchies a container's cgroup is in: none if it has none of its own ("")."""
    from lxcfs_py.cgroup.layout import Layout, detect
    from lxcfs_py.files import Files

    return detect(host(), Files()) if cgroup else Layout({})

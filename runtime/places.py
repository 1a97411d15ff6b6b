"""The host as the runtime sees it: the environment may say where its run-time directory is."""

from __future__ import annotations

import os

from lxcfs_py.host import Host

VARIABLE = "LXCFS_PY_RUNTIME_DIR"


def host() -> Host:
    """Return the host, with the run-time directory the environment names."""
    return Host(run=os.environ.get(VARIABLE, "/run"))

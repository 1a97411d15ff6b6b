"""What a person asked ``pyproc-run`` for: an OCI configuration and what OCI has no words for."""

from __future__ import annotations

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Request(Record):
    """One container to be started: decided in ``runtime.spec``, carried out by ``runtime.lifecycle``."""

    id: str
    spec: dict[str, Any]
    """The OCI runtime-spec configuration (config.json), as plain JSON values."""
    rootfs: str = ""
    """The lower layer: a directory, or "" for the host's own ``/`` by allow-list."""
    detach: bool = False
    interactive: bool = False
    init: bool = False
    """Run a small reaper as PID 1 and the command as its child."""
    remove: bool = False
    proc_view: str = "auto"
    """``auto`` | ``require`` | ``off``: where the truthful /proc comes from."""
    root: str = "/run/pyproc"
    """Run-time state of all containers (``--root``)."""
    storage: str = "/var/lib/pyproc"
    """Upper layers and logs of all containers (``--storage``)."""

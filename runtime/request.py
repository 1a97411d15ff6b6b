"""What is asked for: an OCI configuration, and what OCI has no words for."""

from __future__ import annotations

from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.images.resolve import Resolved
    from runtime.network.wish import Wish
    from runtime.volumes import Volume


OWN = "io.lxcfs-py."
"""What the runtime's own annotations begin with."""
NETWORK = f"{OWN}network"
"""The annotation of a container with networks of its own; it names the first it was made with."""


class Names(Record):
    """What its /etc/hosts and resolv.conf say."""

    hosts: tuple[str, ...] = ()
    """Further lines."""
    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    shared: str = ""
    """The directory of another container's files, which are its own too."""


class Request(Record):
    """One container to be made: decided in ``config.spec`` or read from a bundle, done by ``lifecycle.create``."""

    id: str
    spec: dict[str, Any]
    """The OCI runtime-spec configuration (config.json), as plain JSON values, complete (``bundle.complete``)."""
    bundle: str = ""
    """The directory of config.json; "": the root is made by us, as ``rootfs`` says."""
    rootfs: str = ""
    """Without a bundle, the lower layer: a directory, or "" for the host's own ``/`` by allow-list."""
    image: Resolved | None = None
    """Or the image whose layers are the lower ones."""
    network: Wish | None = None
    """The networks of its own that it gets; None: ``spec`` says all."""
    names: Names = Names()
    volumes: tuple[Volume, ...] = ()
    """What of its mounts are volumes."""
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
    manager: str = "cgroupfs"
    """Who makes its cgroup (``options.MANAGER``); "": the user's systemd if it serves, else who can."""
    console_socket: str = ""
    pid_file: str = ""
    preserve_fds: int = 0
    """How many descriptors from 3 on the command gets, beside the standard streams."""
    no_pivot: bool = False
    no_new_keyring: bool = False

    @property
    def lowers(self) -> tuple[str, ...]:
        """The lower layers, the topmost first; () for the host's own ``/``."""
        return self.image.lowers if self.image else (self.rootfs,) if self.rootfs else ()

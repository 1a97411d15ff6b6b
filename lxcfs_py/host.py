"""Where the kernel's trees are: the only place that spells these paths."""

from __future__ import annotations

from lxcfs_py.record import Record


class Host(Record):
    """The roots everything is read from; tests hand in captured trees instead."""

    proc: str = "/proc"
    sys: str = "/sys"
    cgroup: str = "/sys/fs/cgroup"
    """Stands for the path prefix ``/sys/fs/cgroup`` of mountinfo's mount points."""
    run: str = "/run"
    """Run-time state: ``RUN/lxcfs-py`` is the daemon's and the registry's."""

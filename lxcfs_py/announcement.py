"""What a daemon that serves says of itself to whoever looks for one: ``RUN/lxcfs-py/daemon.json``."""

from __future__ import annotations

import os

from lxcfs_py import json_text, process
from lxcfs_py.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lxcfs_py.host import Host


class Announcement(Record):
    """A daemon."""

    pid: int
    """The process that signals are sent to, and that stays the same while supervisors come and go."""
    start_ticks: int
    mountpoint: str
    version: str
    loads: int
    """Under which descriptor of that process the table of loads is."""


def path(host: Host) -> str:
    """Return where it is."""
    return f"{host.run}/lxcfs-py/daemon.json"


def write(host: Host, found: Announcement) -> None:
    """Announce a daemon, in the place of any other; raises OSError."""
    os.makedirs(os.path.dirname(path(host)), mode=0o755, exist_ok=True)
    temporary = f"{path(host)}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(json_text.dumps(found.as_dict()))
    os.rename(temporary, path(host))


def read(host: Host) -> Announcement | None:
    """Return the daemon that was announced, perhaps one that has ended; None for nothing that can be understood."""
    try:
        with open(path(host), "rb") as file:
            found = json_text.loads(file.read())
        announced = Announcement(**{name: found[name] for name in Announcement._fields})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    numbers = announced.pid, announced.start_ticks, announced.loads
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
        return None
    return announced if isinstance(announced.mountpoint, str) and announced.mountpoint else None


def serves(host: Host, found: Announcement) -> bool:
    """Say whether the daemon that was announced runs."""
    return process.alive(host, found.pid, found.start_ticks)


def withdraw(host: Host, pid: int) -> None:
    """Remove the announcement if it is that process's."""
    found = read(host)
    if found is not None and found.pid == pid:
        os.unlink(path(host))

"""What systemd is told and what it keeps: the protocols of sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).

Without systemd (no such variables in the environment) all of it does nothing.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from lxcfs_py import log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LISTEN_FDS_START = 3
WAIT_SECONDS = 1.0
"""How long a manager that does not read may hold us up."""


def notify(state: str, descriptors: Sequence[int] = ()) -> None:
    """Tell the manager, e.g. ``READY=1``, and hand it descriptors to keep; a failure is a line in the log."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address[0] == "@":  # the abstract namespace, unix(7)
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(WAIT_SECONDS)
            manager.connect(address)
            socket.send_fds(manager, [state.encode()], descriptors)
    except OSError as error:
        log.write(f"systemd was not told {state!r}: {log.cause(error)}")


def keep(descriptors: Mapping[str, int]) -> None:
    """Have the manager keep descriptors by name, instead of what it had by these names."""
    for name, descriptor in descriptors.items():
        notify(f"FDSTOREREMOVE=1\nFDNAME={name}")
        notify(f"FDSTORE=1\nFDNAME={name}", [descriptor])


def stored() -> dict[str, int]:
    """Return the descriptors the manager passed to us, by name, and take the variables out of the environment.

    Of several with one name the first is returned, the newest of systemd's store; the others are closed.
    """
    names = {name: os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES")}
    if names["PID"] != str(os.getpid()) or not names["FDS"].isdecimal():
        return {}
    count = int(names["FDS"])
    words = names["FDNAMES"].split(":") if names["FDNAMES"] else ["unknown"] * count
    found: dict[str, int] = {}
    for descriptor, word in enumerate(words[:count], LISTEN_FDS_START):
        os.set_inheritable(descriptor, False)
        if found.setdefault(word, descriptor) != descriptor:
            os.close(descriptor)
    return found


def watchdog_seconds() -> float:
    """Return how often ``WATCHDOG=1`` is due: half of what the manager waits for; 0 if it does not wait."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not usec.isdecimal():
        return 0.0
    return int(usec) / 2e6

"""Descriptors a caller hands through to the command: ``--preserve-fds`` and systemd's LISTEN_FDS."""

from __future__ import annotations

import os

from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = 3


def listening(caller: Mapping[str, str]) -> int:
    """Return how many sockets the caller has been handed by sd_listen_fds(3), to be handed on."""
    text = caller.get("LISTEN_FDS", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0


def preserved(asked: int | None, sockets: int = 0) -> int:
    """Return how many descriptors from 3 on to preserve; raises an Error if one of them is not open.

    To be called before we open anything: a number that is free would become one of ours, and be handed through.
    """
    count = (asked or 0) + sockets
    for number in range(FIRST, FIRST + count):
        try:
            os.fstat(number)
        except OSError:
            raise RunError(
                f"--preserve-fds {count}: descriptor {number} is not open", "count those from 3 on"
            ) from None
    return count


def memory(data: bytes = b"") -> int:
    """Return a file without a name, to be read from its beginning: a pipe could be kept open, or fill."""
    descriptor = os.memfd_create("pyproc", os.MFD_CLOEXEC)
    while data:
        data = data[os.write(descriptor, data) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor

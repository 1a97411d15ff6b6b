"""/proc/pressure/*: what a trigger written to one of them says (Documentation/accounting/psi.rst)."""

from __future__ import annotations

import re

from lxcfs_py.record import Record

MOST_BYTES = 31
"""What the kernel looks at (psi_write in kernel/sched/psi.c)."""
LEAST_WINDOW_USEC, MOST_WINDOW_USEC = 500_000, 10_000_000
"""psi.rst's bounds. Kernels since 6.4 take shorter windows too: the lower bound keeps wake-ups to two a second."""
_SHAPE = re.compile(rb"(some|full)[ \t-\r\xa0]*+(\d++)[ \t-\r\xa0]*+(\d++)")


class Trigger(Record):
    """Wake me when ``some`` or all tasks (``full``) have been stalled for so long within a window."""

    kind: str
    threshold_usec: int
    window_usec: int

    @property
    def text(self) -> bytes:
        """What is written to the kernel's file: /proc's take a last byte to overwrite, cgroup's do not mind it."""
        return f"{self.kind} {self.threshold_usec} {self.window_usec}\0".encode()


def trigger(data: bytes) -> Trigger | None:
    """Return the trigger that is written, None where the kernel would say EINVAL to anybody.

    As the kernel's sscanf("some %u %u"): what follows is ignored, and numbers are cut to 32 bits.
    """
    found = _SHAPE.match(data[:MOST_BYTES].partition(b"\0")[0])
    if found is None:
        return None
    threshold, window = (int(number) & 0xFFFFFFFF for number in found.groups()[1:])
    if not LEAST_WINDOW_USEC <= window <= MOST_WINDOW_USEC or not 0 < threshold <= window:
        return None
    return Trigger(found[1].decode(), threshold, window)

"""A container's /etc/hosts: a block of it is ours, from a line to another, and follows its network.

Names are written down instead of being answered by a name server: that needs no process that could die, works with
every C library, and costs nothing while nobody comes or goes. What a container itself writes there stays.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.network.leases import Book, Lease

BEGIN, END = "# Kept by pyproc from here", "# to here"
MAX_BYTES = 1 << 20
"""A longer file is not ours to read."""


def lines(book: Book, mine: Sequence[Lease]) -> list[str]:
    """Return the block's lines for a container with these leases.

    They are itself, the gateway if that is to have names, and who else is in its networks where there are names.
    """
    found, others = [], []
    for lease in mine:
        named = book.networks[lease.bridge].named
        own = " ".join(dict.fromkeys(filter(None, (lease.hostname, *(lease.names if named else ())))))
        found += [f"{address}\t{own}" for address in lease.addresses]
        others += [other for other in book.of(lease.bridge) if named and other.interface != lease.interface]
    main = book.main(mine)
    if main is not None and main.gateways:
        found.append(f"{book.networks[main.bridge].gateway}\t{' '.join(main.gateways)}")
    return found + [f"{address}\t{' '.join(other.names)}" for other in others for address in other.addresses]


def replaced(text: str, block: Iterable[str]) -> str:
    """Return a file's text with another block; a file without one gets it at its end."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if begin and not end:  # somebody has cut it off: what is left of it is not known to be ours
        before, after = text.replace(f"{BEGIN}\n", ""), ""
    if before and not before.endswith("\n"):
        before += "\n"
    return before + "\n".join((BEGIN, *block, END)) + "\n" + after


def write(path: str, block: Iterable[str]) -> None:
    """Replace the block of a file that is there; the file stays the same one, for it is bound into the container.

    A container that has a lease of it (fcntl(2), F_SETLEASE) is not told: it would have all others wait.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, BlockingIOError):  # not yet made, or already gone
        return
    try:
        old = os.read(descriptor, MAX_BYTES)
        if len(old) == MAX_BYTES:
            return
        new = replaced(old.decode("utf-8", "surrogateescape"), block).encode("utf-8", "surrogateescape")
        if new != old:
            os.pwrite(descriptor, new, 0)
            os.ftruncate(descriptor, len(new))
    finally:
        os.close(descriptor)

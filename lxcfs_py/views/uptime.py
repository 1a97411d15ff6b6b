"""proc/uptime: seconds since the container started, and idle seconds summed over its CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.rule import Rule
from lxcfs_py.views import stat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/uptime"
LINES = {
    "up": Rule("CLOCK_BOOTTIME less the container's start", host=stat.START, unit="s"),
    "idle": stat.IDLE.replace(unit="s"),
}


def rows(text: bytes, _cpus: Sequence[int]) -> dict[str, str]:
    """Return what ``explain`` shows of a text."""
    return dict(zip(LINES, text.decode("utf-8", "replace").split(), strict=False))


def render(up_nsec: int, idle_usec: int) -> bytes:
    """Return the text; the kernel cuts to hundredths (fs/proc/uptime.c)."""
    up, idle = max(0, up_nsec) // 10_000_000, max(0, idle_usec) // 10_000
    return f"{up // 100}.{up % 100:02d} {idle // 100}.{idle % 100:02d}\n".encode()


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    account = reader.account(container, len(reader.cpus(container)))
    return render(reader.now_nsec() - container.start_nsec, account.idle_usec)

"""proc/swaps: the container's swap as one device, of the size that meminfo says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lxcfs_py.procfs import meminfo as meminfo_parser
from lxcfs_py.rule import Rule
from lxcfs_py.views import meminfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

PATH = "proc/swaps"
HEADER = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"
WIDE_KIB = 10_000_000
"""Numbers from here on take no second tab (mm/swapfile.c, swap_show)."""

COLUMNS = ("Filename", "Type", "Size", "Used", "Priority")
_SIZE, _FREE = (
    meminfo.LINES[name].replace(host=(f"proc/meminfo:{name}",), unit="KiB") for name in ("SwapTotal", "SwapFree")
)
LINES = {
    **dict.fromkeys(("Filename", "Type"), Rule("`none`, `virtual`: one device for whatever the container may use")),
    "Size": _SIZE.replace(formula="SwapTotal of proc/meminfo"),
    "Used": _FREE.replace(formula="SwapTotal - SwapFree of proc/meminfo"),
    "Priority": Rule("that of the host's first", host=(PATH,)),
}


def rows(text: bytes, _cpus: Sequence[int]) -> dict[str, str]:
    """Return what ``explain`` shows of a text: of several devices the sizes together, of the rest the first's."""
    lines = [line.split() for line in text.decode("utf-8", "replace").splitlines()[1:]]
    devices = [dict(zip(COLUMNS, words, strict=True)) for words in lines if len(words) == len(COLUMNS)]
    if not devices:
        return {}
    sizes = {
        name: str(sum(int(device[name]) for device in devices if _is_size(device[name]))) for name in ("Size", "Used")
    }
    return {**devices[0], **sizes}


def _is_size(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 25


def render(host: bytes, space: meminfo.Swap) -> bytes:
    """Return the host's header, and one line if there is swap; its priority is the host's first one's."""
    header, *lines = host.split(b"\n")
    found = [header if header.startswith(b"Filename") else HEADER]
    total, used = space.total // 1024, max(0, space.total // 1024 - space.free // 1024)
    if total > 0:
        priority = (lines[:1] or [b""])[0].split()[-1:]
        word = priority[0].decode("ascii", "replace") if priority else ""
        word = word if word.removeprefix("-").isdecimal() else "-1"
        sizes = "".join(f"{kib}\t" + ("\t" if kib < WIDE_KIB else "") for kib in (total, used))
        found.append(f"{'none'.ljust(40)}{'virtual'}\t\t{sizes}{word}".encode())
    return b"\n".join(found) + b"\n"


def read(reader: Reader, container: Container) -> bytes:
    """Return the text for a container."""
    text = reader.host_bytes(PATH)
    if text.count(b"\n") < 2:  # the host has none
        return render(text, meminfo.Swap(0, 0))
    host = meminfo_parser.parse(reader.host_one(meminfo.PATH))
    return render(text, meminfo.swap(host, reader.cgroups.memory(container.cgroup)))

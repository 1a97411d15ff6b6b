"""sys/devices/system/cpu: the host's directory for the N CPUs the container sees, counted from 0.

N CPUs are N cores of one package, as ``cpuinfo`` has it: where the host's ids contradict that they are counted anew.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from lxcfs_py.procfs import cpulist, cpumask
from lxcfs_py.reader import COUNT
from lxcfs_py.record import Record
from lxcfs_py.served import CPU

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

WHOLE = ("online", "present", "possible", "enabled")
"""Lists of all CPUs (Documentation/ABI/testing/sysfs-devices-system-cpu)."""
LINES = dict.fromkeys(WHOLE, COUNT.replace(formula=f"0 to N - 1; {COUNT.formula}"))
"""The rules of the files that have one line and are named like it."""
PARTS = ("isolated", "nohz_full")
CORE = ("core_cpus", "thread_siblings")
PACKAGE = ("package_cpus", "core_siblings", "die_cpus")
MASKS = (*CORE, *PACKAGE, "cluster_cpus", "book_siblings", "drawer_siblings", "shared_cpu")
"""Masks, and with ``_list`` lists, of the CPUs that share something with one (topology/, cache/indexN/)."""
POLICY = ("affected_cpus", "related_cpus")
"""Lists in words (cpufreq/)."""
IDS = ("physical_package_id", "die_id", "core_id")


class Seen(Record):
    """The CPUs that are seen."""

    cpus: tuple[int, ...]
    """The host's number of each."""
    apart: bool
    """Whether the host's own ids make them so many cores of one package."""


def number(path: str) -> int | None:
    """Return which CPU's a path is, None for what is not below a cpuN."""
    name = path[len(CPU) + 1 :].partition("/")[0].removeprefix("cpu")
    plain = path.startswith(CPU + "/cpu") and name.isascii() and name.isdigit() and len(name) < 6
    return int(name) if plain else None


def names(host: Iterable[str], seen: tuple[int, ...]) -> list[str]:
    """Return the names in the directory; ``host`` are the host's own."""
    others = [name for name in host if number(f"{CPU}/{name}") is None]
    return others + [f"cpu{at}" for at in range(len(seen))]


def host_path(path: str, seen: tuple[int, ...]) -> str:
    """Return the host's path of a file; raises FileNotFoundError for a CPU that is not seen."""
    at = number(path)
    if at is None:
        return path
    own, _, rest = path[len(CPU) + 1 :].partition("/")
    if own != f"cpu{at}" or at >= len(seen):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return f"{CPU}/cpu{seen[at]}" + (f"/{rest}" if rest else "")


def render(path: str, host: bytes, seen: Seen) -> bytes:
    """Return the text of a file whose text on the host is ``host``."""
    name, at = path.rpartition("/")[2], number(path)
    listed = name.endswith("_list")
    kind = name.removesuffix("_list").removesuffix("_map")
    everyone = range(len(seen.cpus))
    new: Iterable[int]
    if path == f"{CPU}/{name}":
        if name in WHOLE:
            return f"{cpulist.render(everyone)}\n".encode()
        if name == "offline":
            return b"\n"
        if name in PARTS and cpulist.parse(host):  # "(null)" says that there is no such list
            return f"{cpulist.render(_renumbered(cpulist.parse(host), seen.cpus))}\n".encode()
    if name in IDS and at is not None and not seen.apart:
        return f"{at if name == 'core_id' else 0}\n".encode()
    if name in POLICY:
        old = {int(word) for word in host.split() if word.isdigit() and len(word) < 6}
        return " ".join(map(str, sorted(_renumbered(old, seen.cpus)))).encode() + b"\n"
    if kind not in MASKS or at is None:
        return host
    if kind in CORE and not seen.apart:
        new = (at,)
    elif kind in PACKAGE and not seen.apart:
        new = everyone
    else:
        new = _renumbered(cpulist.parse(host) if listed else cpumask.parse(host), seen.cpus)
    return f"{cpulist.render(new) if listed else cpumask.render(new, host)}\n".encode()


def _renumbered(host: Iterable[int], seen: tuple[int, ...]) -> list[int]:
    of = {cpu: at for at, cpu in enumerate(seen)}
    return [of[cpu] for cpu in host if cpu in of]


def seen_by(reader: Reader, container: Container) -> tuple[int, ...] | None:
    """Return the host's CPUs the container sees, in order; None if it sees them all, as the host does."""
    cpus = reader.cpus(container)
    return None if cpulist.parse(reader.host_bytes(f"{CPU}/online")) <= set(cpus) else cpus


def path_for(reader: Reader, container: Container, path: str) -> str:
    """Return the host's path of a container's; raises FileNotFoundError for a CPU that it does not see."""
    if number(path) is None:
        return path
    seen = seen_by(reader, container)
    return path if seen is None else host_path(path, seen)


def read(reader: Reader, container: Container, path: str) -> bytes:
    """Return the text of a file below the directory; raises OSError where the host has none."""
    seen = seen_by(reader, container)
    if seen is None:
        return reader.host_bytes(path)
    at = host_path(path, seen)
    ids = [
        tuple(_id(reader, f"{CPU}/cpu{cpu}/topology/{name}") for cpu in seen)
        for name in ("physical_package_id", "core_id")
        if "/topology/" in path
    ]
    apart = not ids or (len(set(ids[0])) == 1 and len(set(ids[1])) == len(seen))
    return render(path, reader.host_bytes(at), Seen(seen, apart))


def _id(reader: Reader, path: str) -> bytes:
    try:
        return reader.host_bytes(path)
    except OSError:
        return b""

"""sys/devices/system/cpu: the host's directory for the N CPUs the container sees, counted from 0.

N CPUs are N cores of one package, as ``cpuinfo`` has it: where the host's ids contradict that they are counted anew.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from lxcfs_py.procfs import cpulist, cpumask
from lxcfs_py.reader import COUNT
from lxcfs_py.record import Record
from lxcfs_py.served import CPU, NODE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader
    from lxcfs_py.rule import Rule

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


_OF_CPU = re.compile(rf"((?:{CPU}|{NODE}/node[0-9]+)/)cpu([0-9]{{1,5}})(/.*)?", re.DOTALL)
"""A CPU's directory, or a node's link to it, or what is below."""


class Seen(Record):
    """The CPUs that are seen."""

    cpus: tuple[int, ...]
    """The host's number of each."""
    apart: bool
    """Whether the host's own ids make them so many cores of one package."""


def number(path: str) -> int | None:
    """Return which CPU's a path is, None for what is not below a cpuN."""
    match = _OF_CPU.fullmatch(path)
    return int(match[2]) if match else None


def names(host: Iterable[str], seen: tuple[int, ...]) -> list[str]:
    """Return the names in a directory that has CPUs; ``host`` are the host's own."""
    theirs = set(host)
    others = [name for name in theirs if number(f"{CPU}/{name}") is None]
    return others + [f"cpu{at}" for at, cpu in enumerate(seen) if f"cpu{cpu}" in theirs]


def host_path(path: str, seen: tuple[int, ...]) -> str:
    """Return the host's path of a file; raises FileNotFoundError for a CPU that is not seen."""
    match = _OF_CPU.fullmatch(path)
    if match is None:
        return path
    at = int(match[2])
    if match[2] != str(at) or at >= len(seen):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return f"{match[1]}cpu{seen[at]}{match[3] or ''}"


def target(path: str, host: str) -> str:
    """Return where a link leads that on the host leads to ``host``: a node's to a CPU has that CPU's new number."""
    match = _OF_CPU.fullmatch(path)
    return host if match is None or match[3] else f"{host.rpartition('/')[0]}/{path.rpartition('/')[2]}"


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
            return f"{cpulist.render(renumbered(cpulist.parse(host), seen.cpus))}\n".encode()
    if name in IDS and at is not None and not seen.apart:
        return f"{at if name == 'core_id' else 0}\n".encode()
    if name in POLICY:
        old = {int(word) for word in host.split() if word.isdigit() and len(word) < 6}
        return " ".join(map(str, sorted(renumbered(old, seen.cpus)))).encode() + b"\n"
    if kind not in MASKS or at is None:
        return host
    if kind in CORE and not seen.apart:
        new = (at,)
    elif kind in PACKAGE and not seen.apart:
        new = everyone
    else:
        new = renumbered(cpulist.parse(host) if listed else cpumask.parse(host), seen.cpus)
    return f"{cpulist.render(new) if listed else cpumask.render(new, host)}\n".encode()


def renumbered(host: Iterable[int], seen: tuple[int, ...]) -> list[int]:
    """Return the new numbers of those of the host's CPUs that are seen."""
    of = {cpu: at for at, cpu in enumerate(seen)}
    return [of[cpu] for cpu in host if cpu in of]


def seen_by(reader: Reader, container: Container) -> tuple[int, ...] | None:
    """Return the host's CPUs the container sees, in order; None if it sees them all, as the host does."""
    cpus = reader.cpus(container)
    return None if cpulist.parse(reader.host_one(f"{CPU}/online")) <= set(cpus) else cpus


def path_for(reader: Reader, container: Container, path: str) -> str:
    """Return the host's path of a container's; raises FileNotFoundError for a CPU that it does not see."""
    if number(path) is None:
        return path
    seen = seen_by(reader, container)
    return path if seen is None else host_path(path, seen)


def listed(reader: Reader, container: Container, path: str, host: list[str]) -> list[str]:
    """Return a container's names in a directory that has ``host``'s on the host."""
    seen = seen_by(reader, container) if number(f"{path}/cpu0") is not None else None
    return host if seen is None else names(host, seen)


def rules(path: str) -> dict[str, Rule]:
    """Return the rules of a file's lines."""
    name = path.rpartition("/")[2]
    return {name: LINES[name]} if path == f"{CPU}/{name}" and name in LINES else {}


def read(reader: Reader, container: Container, path: str) -> bytes:
    """Return the text of a file below the directory; raises OSError where the host has none."""
    seen = seen_by(reader, container)
    if seen is None:
        return reader.host_one(path)
    at = host_path(path, seen)
    ids = [
        tuple(_id(reader, f"{CPU}/cpu{cpu}/topology/{name}") for cpu in seen)
        for name in ("physical_package_id", "core_id")
        if "/topology/" in path
    ]
    apart = not ids or (len(set(ids[0])) == 1 and len(set(ids[1])) == len(seen))
    return render(path, reader.host_one(at), Seen(seen, apart))


def _id(reader: Reader, path: str) -> bytes:
    try:
        return reader.host_bytes(path)
    except OSError:
        return b""

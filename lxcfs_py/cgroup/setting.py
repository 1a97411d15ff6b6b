"""Sets limits on cgroups: which file of which hierarchy takes one, and the writing."""

from __future__ import annotations

import errno
import os

from lxcfs_py.cgroup.layout import UNIFIED
from lxcfs_py.cgroup.limits import V2_NAMES, Limits, Write, v1_writes, v2_writes
from lxcfs_py.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxcfs_py.cgroup.layout import Layout
    from lxcfs_py.host import Host

COUNTED = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")
"""What tells about a container without a limit."""


def write(path: str, text: str) -> None:
    """Write a text to a file of the kernel's; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def read(path: str) -> bytes:
    """Return a file's content, b"" where it can't be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def needed(layout: Layout, limits: Limits) -> list[str]:
    """Return what of cgroup2 is worth enabling: what is limited there, and on v2 alone what is counted by it."""
    unified = layout.hierarchies[UNIFIED]
    wanted = {name: None for name, writes in _v2(layout, limits).items() if writes and _version(layout, name) != 1}
    wanted |= {name: None for name in map(_controller, limits.unified) if name != "cgroup"}
    alone = all(h.version == 2 for h in layout.hierarchies.values())
    counted = [name for name in COUNTED if name in unified.controllers] if alone else []
    return list(dict.fromkeys((*counted, *(V2_NAMES.get(name, name) for name in wanted))))


def _v2(layout: Layout, limits: Limits) -> dict[str, list[Write]]:
    """Return what cgroup2 would take; that swap isn't counted with memory there matters only where it has memory."""
    return v2_writes(limits if _version(layout, "memory") == 2 else limits.replace(swap_total_bytes=None))


def as_files(limits: Limits) -> list[tuple[str, str]]:
    """Return the files of cgroup2, by name, and what each would take; some limits have several files."""
    writes = (write for writes in v2_writes(limits).values() for write in writes)
    return [*(choice for write in writes for choice in write.choices), *limits.unified.items()]


def _controller(file: str) -> str:
    controller, dot, _ = file.partition(".")
    if "/" in file or not controller or not dot:
        raise Error(f"linux.resources.unified: {file!r} is no file of a cgroup", "name one, as memory.high")
    return controller


def _version(layout: Layout, controller: str) -> int:
    """Return which version has a controller, by v1's name; 0 where none does."""
    found = layout.hierarchies.get(controller)
    if found is None:
        found = layout.which(V2_NAMES.get(controller, controller))
    return found.version if found else 0


def update(_host: Host, layout: Layout, path: str, limits: Limits) -> None:
    """Write the limits that are set; raises an Error naming file and value.

    The kernel checks one file against another: what it finds impossible is tried again when the others are written.
    """
    later = []
    for file, value in [*_settings(layout, path, limits)]:
        try:
            limit(file, value, patient=True)
        except _NotYetError:
            later.append((file, value))
    for file, value in later:
        limit(file, value)


def _settings(layout: Layout, path: str, limits: Limits) -> Iterator[tuple[str, str]]:
    """Yield files and what to write there; raises an Error for a controller that is not there."""
    by_version = {1: v1_writes(limits), 2: _v2(layout, limits)}
    for controller, always in by_version[2].items():
        version = _version(layout, controller)
        for each in by_version[version][controller] if version else always:
            if version == 0:
                file, text = each.choices[0]
                raise Error(f"this host has no {controller} controller for {file} {text}", "leave the limit out")
            hierarchy = layout.hierarchies[controller if version == 1 else UNIFIED]
            there = [(f"{hierarchy.directory(path)}/{file}", text) for file, text in each.choices]
            yield next((pair for pair in there if os.path.exists(pair[0])), there[0])
    unified = layout.hierarchies.get(UNIFIED)
    for file, text in limits.unified.items():
        controller = _controller(file)
        if controller != "cgroup" and (unified is None or controller not in unified.controllers):
            raise Error(f"linux.resources.unified: {file}: no cgroup2 here has {controller}", "set it in v1's words")
        if unified is None:
            raise Error(f"linux.resources.unified: {file}: this host has no cgroup2", "leave it out")
        yield f"{unified.directory(path)}/{file}", text


class _NotYetError(Exception):
    """The kernel finds a value impossible as the others are."""


def limit(file: str, value: str, *, patient: bool = False) -> None:
    """Write one limit; raises an Error naming file and value, ``_NotYetError`` if it may fit later (``patient``)."""
    try:
        write(file, value)
    except FileNotFoundError:
        if "swap." in file.rpartition("/")[2] or "memsw" in file:
            return  # the kernel does not account for swap: a limit on it would mean nothing
        raise Error(f"{file} is not there for {value!r}", "the kernel lacks this limit: leave it out") from None
    except OSError as error:
        if patient and error.errno == errno.EINVAL:
            raise _NotYetError from error
        raise Error(f"{file}: {value!r}: {error.strerror}", "choose a value the host can give") from error


def check(layout: Layout, path: str, limits: Limits) -> None:
    """Raise an Error if more memory is in use than a new limit allows (config-linux.md, "checkBeforeUpdate")."""
    hierarchy = layout.which("memory")
    if hierarchy is None or limits.memory_bytes is None or limits.memory_bytes < 0:
        return
    file = f"{hierarchy.directory(path)}/{('memory.usage_in_bytes', 'memory.current')[hierarchy.version - 1]}"
    used = int(read(file) or 0)
    if used > limits.memory_bytes:
        raise Error(f"memory limit {limits.memory_bytes}: {used} bytes are in use", "set a higher one")

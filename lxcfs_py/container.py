"""Whose numbers to serve: a registered container, or the one a caller is in."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.lifeline import Lifeline, Living
from lxcfs_py.process import numbers, pid_namespaces
from lxcfs_py.procfs import pid_stat, proc_cgroup, timens_offsets
from lxcfs_py.record import Record
from lxcfs_py.registry import RefusedError, Registration, ids, load

if TYPE_CHECKING:
    from lxcfs_py.host import Host

TICK_NSEC = 10_000_000
"""A tick of /proc/PID/stat's start time in nanoseconds (USER_HZ is 100)."""
NS_GET_TGID_FROM_PIDNS = 0x8004B707
"""ioctl_nsfs(2): our number for a process of another pid namespace, from kernel 6.11 on."""

INIT_SCOPE = "/init.scope"
"""Where systemd as a container's init puts itself: the container is the cgroup above."""


class Container(Record):
    """One container, or a cgroup seen as one (``init_pid`` 0: there is no first process to count time from)."""

    key: str
    """The same for the same container as long as it lives, and never another's."""
    cgroup: Cgroup
    init_pid: int = 0
    init_start_ticks: int = 0
    boottime_offset_nsec: int = 0

    @property
    def start_nsec(self) -> int:
        """CLOCK_BOOTTIME when it started; with a time namespace, the moment its own clock was 0."""
        return -self.boottime_offset_nsec if self.boottime_offset_nsec else self.init_start_ticks * TICK_NSEC

    @property
    def packed(self) -> tuple[Any, ...]:
        """The same as plain data (marshal's)."""
        return (self.key, dict(self.cgroup.paths), self.init_pid, self.init_start_ticks, self.boottime_offset_nsec)

    @classmethod
    def unpacked(cls, packed: tuple[Any, ...]) -> Container:
        """Return the container of ``packed``."""
        key, paths, *rest = packed
        return cls(key, Cgroup(paths), *rest)


def owner(key: str) -> str:
    """Return whose share of what is limited a container uses: pid namespaces within one use the outermost's."""
    return key.partition("/")[0] if key.startswith("pid:[") else key


@functools.lru_cache(4096)
def digest(key: str) -> bytes:
    """Return a container's name for tables in shared memory, 16 bytes: the first 8 are its owner's."""
    return b"".join(
        hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest() for text in (owner(key), key)
    )


def by_registration(host: Host, files: Files, id_: str) -> Container:
    """Return a registered container; raises an Error if it is not registered or its init has ended."""
    return of(host, files, load(host, id_))


def registered(host: Host, files: Files) -> dict[str, Container]:
    """Return the registered containers that run, by id, in order; what can't be read or trusted is left out."""
    found = {}
    for id_ in ids(host):
        with contextlib.suppress(Error, OSError):
            found[id_] = by_registration(host, files, id_)
    return found


def of(host: Host, files: Files, registration: Registration) -> Container:
    """Return the container of a registration; raises an Error if that very init has ended."""
    if start_ticks(host, files, registration.init_pid) != registration.init_start_ticks:
        raise Error(f"container {registration.id!r} has ended", "its registration is out of date")
    return Container(
        f"{registration.id}@{registration.init_start_ticks}",
        Cgroup({name: sys.intern(path) for name, path in registration.cgroups.items()}),  # mostly one path
        registration.init_pid,
        registration.init_start_ticks,
        registration.boottime_offset_nsec,
    )


def start_ticks(host: Host, files: Files, pid: int) -> int | None:
    """Return a process's start time, None if it has ended; raises OSError if that can't be known."""
    try:
        found = pid_stat.parse(files.read_one(f"{host.proc}/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if found is None or found.state in "XZx" else found.start_ticks


def by_cgroup(path: str, controllers: tuple[str, ...]) -> Container:
    """Return a cgroup, of the same path in every hierarchy, as a container."""
    return Container(f"cgroup:{path}", Cgroup(dict.fromkeys(controllers, path)))


class Live:
    """Registered containers by ``ID@START``, as long as their first process lives."""

    def __init__(self, host: Host, files: Files, limit: int = 4096) -> None:
        self._host, self._files = host, files
        self._known: Living[Container] = Living(limit, self._forget)

    def container(self, name: str) -> Container:
        """Return a container; raises an Error once it has ended."""
        return self._known.get(name) or self._load(name)

    def _forget(self, container: Container) -> None:
        """Close what was read of a container that has ended."""
        self._files.forget(f"{self._host.proc}/{container.init_pid}/stat")
        self._files.forget_below({path for path in container.cgroup.paths.values() if path != "/"})

    def gone(self, name: str) -> bool:
        """Say whether a container has surely ended or is registered no more: its name will never be served again."""
        try:
            self.container(name)
        except (RefusedError, OSError):
            return False
        except Error:
            return True
        return False

    def _load(self, name: str) -> Container:
        registration = load(self._host, name.rpartition("@")[0])
        try:
            lifeline = Lifeline(registration.init_pid)  # opened before its start is compared: then it is that one
        except ProcessLookupError:
            raise Error(f"container {name!r} has ended", "its registration is out of date") from None
        container = of(self._host, self._files, registration)
        if container.key != name:
            raise Error(f"container {name!r} has ended", "another one has its name")
        self._known.put(name, container, lifeline)
        return container


class Init(NamedTuple):
    """The first process of a pid namespace."""

    pid: int
    start_ticks: int
    boottime_offset_nsec: int
    namespaces: tuple[str, ...]
    """Its pid namespaces: the outermost below ours first, its own last."""


class Callers:
    """Finds the container of a calling process; remembers each pid namespace's init."""

    def __init__(self, host: Host, files: Files, limit: int = 1024) -> None:
        self._host, self._files = host, files
        self._inits: Living[Init] = Living(limit, lambda init: files.forget(f"{host.proc}/{init.pid}/cgroup"))
        self._limit, self._found = limit, dict[str, tuple[Init, bytes, Container]]()
        """By pid namespace what its init's file said at the last look, and what that means."""
        self._once = Files(1)
        self._own = _link(f"{host.proc}/self/ns/pid")

    def container(self, pid: int) -> Container | None:
        """Return the caller's container; None if it is the host's, has ended or can't be resolved."""
        namespace = self.namespace(pid)
        if not namespace:
            return None
        if namespace == self._own:
            return self._same_namespace(pid)
        init = self._known(pid, namespace)
        if init is None:
            return None
        try:
            text = self._files.read_one(f"{self._host.proc}/{init.pid}/cgroup")
        except OSError:
            return None
        found = self._found.get(namespace)
        if found and found[0] is init and found[1] == text:
            return found[2]
        paths = proc_cgroup.parse(text)
        paths = {name: path.removesuffix(INIT_SCOPE) or "/" for name, path in paths.items()}
        key = f"{'/'.join(init.namespaces)}:{init.pid}@{init.start_ticks}"
        container = Container(key, Cgroup(paths), init.pid, init.start_ticks, init.boottime_offset_nsec)
        if len(self._found) >= self._limit:
            self._found.clear()
        self._found[namespace] = init, text, container
        return container

    def namespace(self, pid: int) -> str:
        """Return a process's pid namespace, "" if that can't be known."""
        return _link(f"{self._host.proc}/{pid}/ns/pid")

    def reaches(self, pid: int, init_pid: int) -> bool:
        """Say whether a caller may look a container up: from the host, or from within its pid namespace."""
        namespace = self.namespace(pid)
        if not namespace or namespace == self._own:
            return bool(namespace)
        init = self._known(pid, namespace)
        return init is not None and self.namespace(init_pid) in init.namespaces

    def _known(self, pid: int, namespace: str) -> Init | None:
        """Return the init of a process's pid namespace; None if it has ended or can't be found."""
        return self._inits.get(namespace) or self._init(pid, namespace)

    def _same_namespace(self, pid: int) -> Container | None:
        """Judge a process of the host's pid namespace by its own cgroup; the root cgroup is the host itself."""
        try:
            with open(f"{self._host.proc}/{pid}/cgroup", "rb") as file:  # seldom the same pid twice: not kept open
                paths = proc_cgroup.parse(file.read())
        except OSError:
            return None
        if all(path == "/" for name, path in paths.items() if not name.startswith("name=")):
            return None
        return Container("cgroups:" + ",".join(f"{n}={p}" for n, p in sorted(paths.items())), Cgroup(paths))

    def _init(self, pid: int, namespace: str) -> Init | None:
        found, namespaces = self._translated(pid, namespace), self._namespaces(pid)
        if namespaces[-1:] != (namespace,):  # its number is another's by now, or it is in no namespace below ours
            return None
        try:
            lifeline = Lifeline(found)
            ticks = start_ticks(self._host, self._once, found)
            offset = timens_offsets.boottime_nsec(self._once.read_one(f"{self._host.proc}/{found}/timens_offsets"))
        except FileNotFoundError:  # a kernel without time namespaces
            offset = 0
        except (OSError, ValueError):
            return None
        if ticks is None:
            return None
        init = Init(found, ticks, offset, namespaces)
        self._inits.put(namespace, init, lifeline)
        return init

    def _namespaces(self, pid: int) -> tuple[str, ...]:
        """Return a process's pid namespaces below ours, the outermost first; none if it is not below ours."""
        names: list[str] = []
        for inode in pid_namespaces(self._host, pid):
            if (name := f"pid:[{inode}]") == self._own:
                return tuple(names)
            names.insert(0, name)
        return ()

    def _translated(self, pid: int, namespace: str) -> int:
        try:
            descriptor = os.open(f"{self._host.proc}/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return fcntl.ioctl(descriptor, NS_GET_TGID_FROM_PIDNS, 1)
        except OSError:  # before 6.11
            return self._search(namespace)
        finally:
            os.close(descriptor)

    def _search(self, namespace: str) -> int:
        """Return the process that is 1 in a pid namespace."""
        for name in os.listdir(self._host.proc):
            there = name.isdigit() and _link(f"{self._host.proc}/{name}/ns/pid") == namespace
            if there and numbers(self._host, int(name))[-1:] == (1,):
                return int(name)
        return 0


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""

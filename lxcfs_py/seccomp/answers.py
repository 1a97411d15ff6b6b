"""What the agent answers: it decides, ``agent`` performs."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from lxcfs_py import container as containers
from lxcfs_py.container import Callers, Container
from lxcfs_py.errors import Error
from lxcfs_py.files import Files
from lxcfs_py.reader import Reader
from lxcfs_py.record import Record
from lxcfs_py.seccomp import affinity, protocol, sysinfo

if TYPE_CHECKING:
    from lxcfs_py.host import Host
    from lxcfs_py.loads import LoadStore

MOST_FILES = 128
"""Kernel files that are kept open; the keeper spares descriptors for them."""


class Answer(Record):
    """What a call returns, and what is written into the caller's memory before."""

    value: int
    address: int = 0
    data: bytes = b""


class Answers:
    """Decides what calls are answered; None leaves them to the kernel.

    ``registered``: whether listeners can be those of registered containers, as root's are.
    """

    def __init__(self, host: Host, loads: LoadStore, *, registered: bool = True) -> None:
        self._registered = registered
        self._reader = Reader(host, Files(MOST_FILES), loads=loads)
        self._callers = Callers(host, self._reader.files)
        self._known: dict[str, Container] = {}

    def forget(self, id_: str) -> None:
        """One of the container's listeners has gone, perhaps its last."""
        self._known.pop(id_, None)

    def container(self, id_: str, tid: int) -> Container | None:
        """Return the container of that id if it is registered, else the one the caller is in."""
        if not self._registered:
            return self._callers.container(tid)
        host, files = self._reader.host, self._reader.files
        found = self._known.get(id_)
        if found is None or containers.start_ticks(host, files, found.init_pid) != found.init_start_ticks:
            self.forget(id_)
            try:
                found = containers.by_registration(host, files, id_)
            except Error:
                return self._callers.container(tid)
            self._known[id_] = found
        return found

    def answer(self, id_: str, call: protocol.Call) -> Answer | None:
        """Return the answer; raises OSError if the host's own files can't be read."""
        found = self.container(id_, call.tid) if call.tid and call.name else None
        if found is None:
            return None
        return (self._sysinfo if call.name == protocol.SYSINFO else self._affinity)(found, call)

    def _sysinfo(self, found: Container, call: protocol.Call) -> Answer:
        return Answer(0, call.arguments[0], sysinfo.pack(sysinfo.read(self._reader, found), call.bits))

    def _affinity(self, found: Container, call: protocol.Call) -> Answer | None:
        number, length, address = call.arguments[:3]
        host, cgroups = self._reader.host, self._reader.cgroups
        number = ctypes.c_int(number).value
        tid = affinity.task(host, call.tid, number, lambda: cgroups.pids(found.cgroup)) if number >= 0 else 0
        data = affinity.real(tid, length & 0xFFFFFFFF) if tid else None
        if data is None:
            return None
        n, cpus = len(self._reader.cpus(found)), tuple(affinity.numbers(data))
        if len(cpus) <= n:
            return None
        return Answer(len(data), address, affinity.mask(affinity.choose(cpus, n, found.key), len(data)))

"""The template: has imported all that workers need, forks them, and forks them again when they die.

Run as ``python -m lxcfs_py.daemon.workers`` by the supervisor, with descriptors and numbers as arguments. Dies with
it, as the workers die with the template.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from lxcfs_py import registry, tree
from lxcfs_py.daemon import log
from lxcfs_py.fuse import driver, protocol
from lxcfs_py.fuse.operations import Operations
from lxcfs_py.fuse.pressure import Pressure
from lxcfs_py.fuse.triggers import Triggers
from lxcfs_py.host import Host
from lxcfs_py.nodes import Nodes
from lxcfs_py.reader import Reader
from lxcfs_py.record import Record
from lxcfs_py.shared import Shared

if TYPE_CHECKING:
    from typing import NoReturn

PR_SET_PDEATHSIG = 1
QUICK_SECONDS, PAUSE_SECONDS = 1.0, 0.2
"""A worker that lived for less than the first is begun again after the second."""


class Task(Record):
    """What the supervisor hands over."""

    fuse: int
    memory: int
    table: int
    messages: int
    triggers: int
    workers: int
    cpus: int
    init: protocol.Init
    relay: bool
    host: Host


def pack(task: Task) -> list[str]:
    """Return a task as arguments."""
    descriptors = (task.fuse, task.memory, task.table, task.messages, task.triggers)
    numbers = (*descriptors, task.workers, task.cpus, int(task.relay))
    init, host = task.init, task.host
    fields = (init.unique, init.major, init.minor, init.max_readahead, init.flags)
    return [*map(str, (*numbers, *fields)), host.proc, host.sys, host.cgroup, host.run]


def unpack(words: list[str]) -> Task:
    """Return the task of the arguments."""
    fuse, memory, table, messages, triggers, workers, cpus, relay, *fields = map(int, words[:13])
    init, host = protocol.Init(*fields), Host(*words[13:17])
    return Task(fuse, memory, table, messages, triggers, workers, cpus, init, bool(relay), host)


def die_with_parent(parent: int) -> None:
    """See PR_SET_PDEATHSIG in prctl(2)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def work(task: Task, number: int) -> NoReturn:
    """Be worker ``number``: serve until the mount is gone."""
    messages = socket.socket(fileno=task.messages)

    def tell(what: str, key: str, error: Exception) -> None:
        try:
            messages.send(
                f"{key or '-'} {what}: {log.cause(error)}"[:2000].encode("utf-8", "replace"), socket.MSG_DONTWAIT
            )
        except OSError:  # the supervisor is away or behind: a line less
            return

    def gone(path: str) -> bool:
        name = tree.split(path)[0].rpartition("@")[0]
        return bool(name) and name not in registry.ids(task.host)

    code = 1
    try:
        shared = Shared(task.memory, task.workers, task.cpus, protocol.REQUEST_BYTES)
        reader = Reader(task.host, store=shared)
        pressure = Pressure(reader, Triggers(task.triggers))
        operations = Operations(number, reader, shared, Nodes(task.table, gone), tell, pressure)
        slot = shared.relay(number)[: protocol.REQUEST_BYTES] if task.relay else None
        driver.serve(operations, task.fuse, task.init, slot)
        code = 0
    except Exception as error:  # noqa: BLE001  (the template starts another)
        tell(f"worker {number}", "", error)
    finally:
        os._exit(code)
    raise AssertionError


def mourn(task: Task, number: int) -> None:
    """See to the requests a dead worker held: the kernel asks again, or they get an error (design of the relay)."""
    if not task.relay:
        answer = protocol.resend()
    else:
        slot = Shared(task.memory, task.workers, task.cpus, protocol.REQUEST_BYTES).relay(number)
        unique = int.from_bytes(slot[protocol.UNIQUE_OFFSET : protocol.UNIQUE_OFFSET + 8], sys.byteorder)
        slot[: protocol.UNIQUE_OFFSET + 8] = bytes(protocol.UNIQUE_OFFSET + 8)
        if not unique:
            return
        answer = protocol.error(unique, 5)
    try:
        os.write(task.fuse, answer)
    except OSError:  # answered already, or the mount is gone
        return


def main(words: list[str]) -> int:
    """Keep the workers running until one says that the mount is gone."""
    task = unpack(words)
    die_with_parent(int(words[17]))
    own, running = os.getpid(), {}

    def start(number: int) -> None:
        pid = os.fork()
        if pid == 0:
            die_with_parent(own)
            work(task, number)
        running[pid] = number, time.monotonic()

    for number in range(task.workers):
        mourn(task, number)  # a template before this one may have died with its workers
        start(number)
    while True:
        pid, status = os.wait()
        number, since = running.pop(pid)
        if status == 0:
            return 0
        mourn(task, number)
        if time.monotonic() - since < QUICK_SECONDS:
            time.sleep(PAUSE_SECONDS)
        start(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

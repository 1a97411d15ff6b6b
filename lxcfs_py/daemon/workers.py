"""The template: has imported all that workers need, forks them, and forks them again when they die.

Run as ``python -m lxcfs_py.daemon.workers`` by the supervisor, with descriptors and numbers as arguments. The workers
die with the template. The template dies with the supervisor only where nobody could go on from there; else they serve
until the next supervisor's workers do, and SIGTERM then has each of them leave between two requests.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import lxcfs_py.fuse.lean  # noqa: F401  (before pyfuse3)
from lxcfs_py import log
from lxcfs_py.cgroup import v1, v2  # noqa: F401  (imported once, before the workers are forked)
from lxcfs_py.counters import Table
from lxcfs_py.daemon import rehearsal
from lxcfs_py.daemon.mourning import mourn, mourn_generation
from lxcfs_py.daemon.processes import GENERATIONS, Processes, Template
from lxcfs_py.daemon.task import unpack
from lxcfs_py.files import Files, affordable
from lxcfs_py.fuse import driver, protocol
from lxcfs_py.fuse.operations import Operations
from lxcfs_py.fuse.pressure import Pressure
from lxcfs_py.fuse.triggers import Triggers
from lxcfs_py.loads import Loads
from lxcfs_py.nodes import Nodes
from lxcfs_py.procfs import pid_stat
from lxcfs_py.reader import Reader

if TYPE_CHECKING:
    from typing import NoReturn

    from lxcfs_py.daemon.task import Task

PR_SET_PDEATHSIG = 1
TAKEN, UNFIT, ABANDONED = 5, 6, 7
"""The exit code of a template that another was faster than, whose workers can't serve, that nobody let serve."""
QUICK_SECONDS, PAUSE_SECONDS = 1.0, 0.2
"""A worker that lived for less than the first is begun again after the second."""


def die_with_parent(parent: int) -> None:
    """See PR_SET_PDEATHSIG in prctl(2)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def say(messages: socket.socket, line: log.Line) -> None:
    """Have the supervisor write a line."""
    try:
        messages.send(log.pack(line), socket.MSG_DONTWAIT)
    except OSError:  # it is away or behind: a line less
        return


def work(task: Task, number: int) -> NoReturn:
    """Be worker ``number``: serve until the mount is gone."""
    messages = socket.socket(fileno=task.messages)

    def tell(what: str, key: str, error: Exception, pid: int) -> None:
        say(messages, log.Line(log.cause(error), key, what, pid))

    def first_seen(key: str) -> None:
        say(messages, log.Line("first read", key, f"worker {number}", detail=True))

    code = 1
    try:
        shared = task.shared()
        reader = Reader(task.host, Files(affordable(2048)), shared.accounts, loads=Loads(task.loads))
        nodes, pressure = Nodes(task.table), Pressure(reader, Triggers(task.triggers))
        row = Table(task.counters, 2 * task.workers).row(number, first_seen)
        operations = Operations(number, reader, shared, nodes, tell, pressure, row)
        slot = shared.relay(number)[: protocol.REQUEST_BYTES] if task.relay else None
        code = driver.serve(operations, task.fuse, task.init, slot)
    except Exception as error:  # noqa: BLE001  (the template starts another)
        tell(f"worker {number}", "", error, 0)
    finally:
        os._exit(code)
    raise AssertionError


class Flock:
    """The workers of one template."""

    def __init__(self, task: Task) -> None:
        self._task, self._own, self._leaving = task, os.getpid(), False
        self._processes = Processes(task.record)
        self._running: dict[int, tuple[int, float]] = {}
        self._missing: list[int] = []
        """Numbers that no process could be forked for yet."""
        self._messages = socket.socket(fileno=task.messages)
        self._table = Table(task.counters, 2 * task.workers)

    def _note(self, number: int, what: str) -> None:
        say(self._messages, log.Line(what, "", f"worker {number}", detail=True))

    def begin(self, *, rehearse: bool) -> int:
        """Take our generation, and see to the workers that died with a template; return 0, or the code to exit with.

        ``rehearse``: only if a worker can serve, for others do.
        """
        with open("/proc/self/stat", "rb") as file:
            stat = pid_stat.parse(file.read())
        template = Template(os.getpid(), stat.start_ticks if stat else 0)
        own, processes = self._task.first // self._task.workers, self._processes
        if not processes.hold(own):
            return TAKEN
        mourn_generation(self._task, processes, own)
        if rehearse and (failure := rehearsal.rehearse(self._task, self._task.first, self._work)):
            say(self._messages, log.Line(failure, subject="the new workers can't serve"))
            return UNFIT
        processes.note_template(own, template)
        for other in GENERATIONS:
            if other != own and processes.hold(other):  # nobody's workers serve there
                mourn_generation(self._task, processes, other)
                processes.let_go(other)
        return 0

    def _work(self, task: Task, number: int) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent(self._own)
        work(task, number)

    def leave(self, _number: int, _frame: object) -> None:
        """Let each worker leave between two requests."""
        self._leaving = True
        for pid in tuple(self._running):
            with suppress(ProcessLookupError):  # we have waited for it, and not noted that yet
                os.kill(pid, signal.SIGTERM)

    def start(self, number: int) -> None:
        """Fork a worker; if that can't be just now, ``tend`` does.

        SIGTERM waits meanwhile: ``leave`` would miss a worker that is not known, and a worker in which Python has not
        begun again would miss the signal.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
        try:
            if not self._leaving:
                self._fork(number)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))

    def _fork(self, number: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            say(self._messages, log.Line(log.cause(error), "", f"worker {number} was not started"))
            self._missing.append(number)
            return
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
            die_with_parent(self._own)
            self._table.row(number).start()  # before anybody looks there for us
            self._processes.note_worker(number, os.getpid())  # the parent may be killed before it could
            work(self._task, number)
        self._running[pid] = number, time.monotonic()
        self._note(number, f"pid {pid} takes the session over")

    def tend(self) -> int:
        """Replace workers that die; return why that is over (``driver.UNMOUNTED`` or ``driver.LEFT``)."""
        while self._running or self._missing:
            if self._missing:
                time.sleep(PAUSE_SECONDS)
                missing, self._missing = self._missing, []
                for number in missing:
                    self.start(number)
            pid, status = os.waitpid(-1, os.WNOHANG if self._missing else 0) if self._running else (0, 0)
            if not pid:
                continue
            number, since = self._running.pop(pid)
            how = (
                f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit status {os.WEXITSTATUS(status)}"
            )
            self._note(number, f"pid {pid} has ended: {how}")
            if status == driver.UNMOUNTED and not self._leaving:
                return driver.UNMOUNTED
            if os.waitstatus_to_exitcode(status) not in (driver.UNMOUNTED, driver.LEFT):
                mourn(self._task, [number])
            self._processes.note_worker(number, 0)  # not before: if we die now, the next template mourns it
            if time.monotonic() - since < QUICK_SECONDS and not self._leaving:
                time.sleep(PAUSE_SECONDS)
            self.start(number)
        return driver.LEFT


def main(words: list[str]) -> int:
    """Be the template; the words are the task, the parent to die with (0: none), and 1 for a rehearsal."""
    task, parent, rehearse = unpack(words[0]), int(words[1]), words[2] == "1"
    if parent:
        die_with_parent(parent)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # kernel files and containers' pidfds stay open
    gc.freeze()  # what was imported is the workers' in common: a collection would write to it
    flock = Flock(task)
    signal.signal(signal.SIGTERM, flock.leave)
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):  # they are the supervisor's
        signal.signal(ignored, signal.SIG_IGN)
    if code := flock.begin(rehearse=rehearse):
        return code
    if not os.read(0, 1):  # the supervisor has died, and nobody else knows that we could serve
        return ABANDONED
    for number in range(task.first, task.first + task.workers):
        flock.start(number)
    return flock.tend()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

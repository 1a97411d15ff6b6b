"""Runs a further process in a container that exists.

    parent (the caller's; waits, relays)      ── clone ─  doorkeeper (in cgroup2)
        <── report: master, pid, or failure ──              joins the other cgroups, then all namespaces
                                                            makes the pty, in the container's devpts
                                                            ── fork ──  command (in the pid namespace)
                                                            exits            user, capabilities, filter, execve
        adopts the command (child subreaper), forwards signals, relays its terminal

Joining a pid namespace holds for children only, hence the second fork. Until then nothing inside can see us, and
from then on nothing of the host's is left to be seen: the mount namespace and its root are the container's.
"""

from __future__ import annotations

import os
import sys

from lxcfs_py.cgroup import control
from lxcfs_py.cgroup.layout import UNIFIED
from lxcfs_py.errors import Error
from lxcfs_py.procfs import proc_cgroup
from lxcfs_py.record import Record
from runtime import places
from runtime.kernel import mountapi, signals, syscalls
from runtime.process import attend as attendance
from runtime.process import cgroups, labels, namespaces, scheduling, seccomp, users
from runtime.process import command as runner  # everything is imported before we are inside
from runtime.report import Report, guarded, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

    from lxcfs_py.cgroup.layout import Layout
    from runtime.state import State
else:
    import _socket


class Wish(Record):
    """What is to be run, and with which streams."""

    process: Mapping[str, Any]
    """OCI's process, complete."""
    detach: bool = False
    empty: tuple[int, ...] = ()
    """The standard streams that lead nowhere; the others are the caller's."""
    preserve_fds: int = 0
    make_cwd: bool = True
    filters: str = ""
    """The directory where compiled filters are kept."""


class Entry:
    """One command on its way into a container; its methods run in the children."""

    def __init__(self, found: State, config: Mapping[str, Any], wish: Wish, layout: Layout) -> None:
        self.found, self.wish, self.layout = found, wish, layout
        self.linux = config["linux"]
        labels.check(wish.process)
        self.affinity = wish.process.get("execCPUAffinity", {})
        try:
            self.namespaces = namespaces.foreign(found.pid)
        except PermissionError as error:
            raise namespaces.hidden(found.id, error) from error
        self.filter = seccomp.of(config, found.id, found.bundle, kept=wish.filters)
        if wish.process["terminal"]:
            from runtime.process import terminal  # noqa: F401  (inside, nothing is imported any more)
        self.agent = self.filter.connect() if self.filter is not None and self.filter.asks else None

    def join(self, container: int, doors: Sequence[str]) -> None:
        """Enter the container's cgroups and namespaces; ``container`` is its first process's pidfd."""
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)  # nothing inside may look into us before the execve
        control.enter(doors)
        if "final" in self.affinity:
            os.sched_setaffinity(0, scheduling.affinity(self.affinity["final"]))
        sys.meta_path.clear()  # from here on the files that an import would find are the container's
        syscalls.setns(container, self.namespaces)
        if self.namespaces & syscalls.CLONE_NEWUSER:  # what we make is to be its root's
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)

    def doorkeeper(self, container: int, doors: Sequence[str], report: _socket.socket) -> None:
        """Go in and start the command there; its pid, as the host counts, is reported."""
        empty = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the host's: inside anything may be there
        oom = self.wish.process.get("oomScoreAdj")
        if oom is not None:
            with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
                file.write(str(oom))
        self.join(container, doors)
        slave = -1
        if self.wish.process["terminal"]:
            from runtime.process import terminal

            master, slave = terminal.make(mountapi.open_here("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY))
            send(report, b"terminal", master)
            os.close(master)
        pid = os.fork()
        if pid == 0:
            guarded(report, lambda: self.command(slave, empty, report))
        send(report, b"pid %d" % pid)

    def command(self, slave: int, empty: int, report: _socket.socket) -> NoReturn:
        """Become the command."""
        complete = users.complete(dict(self.wish.process))
        if slave >= 0:
            from runtime.process import terminal

            terminal.take(slave, complete["user"]["uid"])
        else:
            os.setsid()
            for stream in self.wish.empty:
                os.dup2(empty, stream)
        file = runner.look(complete, make=self.wish.make_cwd)
        scheduling.apply(complete, self.linux)

        load = self.filter.loader(report, heard=self.agent is not None) if self.filter else lambda: None
        runner.apply(complete, file, load, self.wish.preserve_fds)


def home(layout: Layout, found: State) -> str:
    """Return the cgroup for a further process: the container's, or its first process's.

    cgroup2 takes no process where controllers are handed on to cgroups below (cgroup-v2.rst, "No Internal Process
    Constraint"): a container that manages cgroups of its own, as systemd does, has its processes in those.
    """
    unified = layout.hierarchies.get(UNIFIED)
    if unified is None or len(layout.hierarchies) > 1:
        return found.cgroup
    try:
        with open(f"{unified.directory(found.cgroup)}/cgroup.subtree_control", "rb") as file:
            managed = bool(file.read().strip())
        with open(f"/proc/{found.pid}/cgroup", "rb") as file:
            inner = proc_cgroup.parse(file.read()).get("", "")
    except OSError:  # it has ended, as will be found out
        return found.cgroup
    return inner if managed and inner.startswith(f"{found.cgroup}/") else found.cgroup


def enter(entry: Entry, container: int) -> Report:
    """Start the command; raises the Error a child reported, once the children have been waited for."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)  # the doorkeeper leaves its child to us
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    before = os.sched_getaffinity(0) if "initial" in entry.affinity else None
    if before is not None:
        os.sched_setaffinity(0, scheduling.affinity(entry.affinity["initial"]))
    unit = entry.found.unit if places.unprivileged() else ""
    child, doors = cgroups.clone(0, entry.layout, home(entry.layout, entry.found), unit)
    if (rdt := entry.linux.get("intelRdt")) is not None:
        from runtime.process import resctrl

        doors = (*doors, *resctrl.doors(rdt, entry.found.key))
    if child == 0:
        ours.close()
        guarded(theirs, lambda: entry.doorkeeper(container, doors, theirs))
    if before is not None:
        os.sched_setaffinity(0, before)
    theirs.close()
    result = Report()
    if entry.filter and entry.agent:
        hand_over, agent = entry.filter.hand_over, entry.agent
        result.on_listener = lambda listener, pid: hand_over(agent, listener, pid)
    try:
        result.read(ours)
    except BaseException:
        if result.pid:
            os.kill(result.pid, signals.NUMBERS["KILL"])  # it runs, and nobody would stay with it
            os.waitpid(result.pid, 0)
        raise
    finally:
        ours.close()
        os.waitpid(child, 0)
    if result.error is not None:
        if result.pid:
            os.waitpid(result.pid, 0)
        raise result.error
    return result


def attend(result: Report, *, interactive: bool) -> int:
    """Serve the command until it ends; return its exit code, or 128 and the signal that killed it."""
    pidfd = os.pidfd_open(result.pid)

    def forward(number: int) -> None:
        try:
            signals.send(pidfd, number)
        except Error:  # it has just ended: the relay is about to see that
            return

    attendance.attend(pidfd, forward, master=result.master, interactive=interactive)
    code = os.waitstatus_to_exitcode(os.waitpid(result.pid, 0)[1])
    return code if code >= 0 else 128 - code

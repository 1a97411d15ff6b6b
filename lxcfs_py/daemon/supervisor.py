"""The supervisor: keeps the workers of a session running, samples, watches, writes the log.

                    nobody keeps the descriptors     a keeper does (``holder``, systemd)
it is killed        its workers die with it          its workers serve on; the next supervisor's follow them
SIGTERM             unmounts                         ``holder``: unmounts; systemd: as if it were killed
SIGHUP, SIGUSR1     nothing                          begins anew, with the code that is there by then
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from lxcfs_py import __version__, announcement, log
from lxcfs_py.announcement import Announcement
from lxcfs_py.container import registered, start_ticks
from lxcfs_py.counters import Table
from lxcfs_py.daemon import control, generations, hangs, metrics, mount, notify, sampler, triggers, watch
from lxcfs_py.daemon.session import WORKERS
from lxcfs_py.daemon.status import Status
from lxcfs_py.daemon.task import Task
from lxcfs_py.files import Files
from lxcfs_py.loads import Loads
from lxcfs_py.procfs import cpulist
from lxcfs_py.record import Record
from lxcfs_py.seccomp.keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxcfs_py.daemon.session import Session
    from lxcfs_py.host import Host

RELAY = "LXCFS_PY_RELAY"
"""Set to 1: serve as on a kernel that can't resend (before 6.9)."""
AGAIN = 3
"""The exit code that has the keeper start us again."""
MOST_NAMED = 20
"""Containers in one line of the log."""
NOBODY, HOLDER, SYSTEMD = "none", "process", "systemd"


class Options(Record):
    """What ``lxcfs-py serve`` was asked for."""

    host: Host
    pidfile: str = ""
    keeper: str = NOBODY
    """Who keeps the descriptors when we die: ``none``, ``process`` or ``systemd``."""
    metrics: str = ""
    """Where Prometheus asks, as ``metrics.listen`` has it; "" for nowhere."""

    @property
    def pid(self) -> int:
        """The process that signals are sent to, and that stays the same."""
        return os.getppid() if self.keeper == HOLDER else os.getpid()


class Supervisor:
    """Serves one session."""

    def __init__(self, options: Options, session: Session) -> None:
        self.options, self.session, self.limiter = options, session, log.Limiter()
        shared = session.descriptors
        self.metrics = metrics.listen(options.metrics) if options.metrics else None
        self.messages, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        triggers_end, workers_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kept = theirs, triggers_end, workers_end
        relay = not session.init.has_resend or os.environ.get(RELAY) == "1"
        self.task = Task(
            **{name: shared[name] for name in WORKERS},
            messages=theirs.fileno(),
            triggers=workers_end.fileno(),
            first=0,
            workers=session.workers,
            cpus=possible_cpus(options.host),
            init=session.init,
            relay=relay,
            host=options.host,
        )
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a listener and a trigger are one each
        self.triggers = triggers.Service(
            shared["fuse"], triggers_end, session.store("triggers"), self.task.shared().opened, self.limiter.write
        )
        listeners = session.store("listeners")
        own = theirs.fileno(), shared["loads"], shared["calls"]
        self.keeper = Keeper(options.host, *own, listeners, self.limiter.write)
        self.control = control.listen(options.host)
        self.code = 0

    async def _serve_session(self, scope: trio.CancelScope) -> None:
        parent = os.getpid() if self.options.keeper == NOBODY else 0
        stages = generations.Stages(self._dismiss_former, self.triggers.resume)
        await generations.keep(self.session, self.task, parent, stages)
        log.write(f"{self.session.mountpoint} was unmounted")
        scope.cancel()

    async def _dismiss_former(self) -> None:
        """Have those leave who serve with memory of another layout, now that there are others."""
        if self.session.former is not None:
            await generations.dismiss(self.session.former, self.task)
            if self.options.keeper == SYSTEMD:  # not before: what it keeps until then names who is to leave
                notify.keep(self.session.begun)

    async def _write_log(self) -> None:
        messages = trio.socket.from_stdlib_socket(self.messages)
        while True:
            message = await messages.recv(log.MOST_BYTES)
            with suppress(ValueError):  # users' agents send, too: whatever they are made to say, it ends nothing
                self.limiter.write(log.unpack(message))

    async def _wait_for_signal(self, scope: trio.CancelScope) -> None:
        signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        with trio.open_signal_receiver(*signals) as received:
            async for number in received:
                again = number in (signal.SIGHUP, signal.SIGUSR1)
                if again and self.options.keeper == NOBODY:
                    continue
                if again or self.options.keeper == SYSTEMD:
                    self.code = AGAIN if again else 0
                    self.left = True
                scope.cancel()
                return

    async def serve(self) -> None:
        """Serve until SIGTERM, SIGINT or an unmounting."""
        self.triggers.start()
        table = Table(self.task.counters, 2 * self.task.workers)
        status = Status(self.options.host, self.session, table, self.keeper, self.triggers)
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            nursery.start_soon(self._serve_session, scope)
            nursery.start_soon(self._write_log)
            nursery.start_soon(hangs.replace, self.options.host, self.session, table)
            nursery.start_soon(watch.ask, self.session.mountpoint)
            nursery.start_soon(sampler.sample, self.options.host, Loads(self.task.loads))
            nursery.start_soon(self.keeper.serve)
            nursery.start_soon(control.serve, self.control, {"status": status.get})
            if self.metrics:
                nursery.start_soon(metrics.serve, self.metrics, status.get)
            nursery.start_soon(self._wait_for_signal, scope)

    left = False
    """Whether the mount is left to whoever comes next."""

    def stop(self) -> None:
        """Unmount, and name who is left without us; or leave all as it is."""
        notify.notify("STOPPING=1")
        self.triggers.stop(keep=self.left)
        self.control.close()
        if self.metrics:
            self.metrics.close()
        self.keeper.close(keep=self.left)
        if self.left:
            return
        if left := registered(self.options.host, Files(1)):
            log.write(f"stopped; these containers still had its files: {named(list(left))}")
        there = mount.mounted(self.session.mountpoint)
        if there is not None and there.fstype == mount.FSTYPE:
            mount.umount(self.session.mountpoint)


def named(ids: Sequence[str]) -> str:
    """Return the first of many names, and how many more there are."""
    more = len(ids) - MOST_NAMED
    return ", ".join(ids[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def possible_cpus(host: Host) -> int:
    """Return how many CPUs this host may ever have."""
    return len(cpulist.parse(Files().read(f"{host.sys}/devices/system/cpu/possible"))) or 1


def run(options: Options, session: Session) -> int:
    """Serve; return the exit code. What goes wrong here ends us and nothing else: a keeper starts us again."""
    supervisor = Supervisor(options, session)
    ticks = start_ticks(options.host, Files(1), options.pid) or 0
    announcement.write(
        options.host, Announcement(options.pid, ticks, session.mountpoint, __version__, session.descriptors["loads"])
    )
    if options.pidfile:
        with open(options.pidfile, "w", encoding="ascii") as file:
            file.write(f"{options.pid}\n")
    try:
        trio.run(supervisor.serve)
    except BaseException:
        supervisor.left = options.keeper != NOBODY
        raise
    finally:
        if not supervisor.left:
            announcement.withdraw(options.host, options.pid)
            if options.pidfile and os.path.exists(options.pidfile):
                os.unlink(options.pidfile)
        supervisor.stop()
    return supervisor.code


__all__ = ["AGAIN", "HOLDER", "NOBODY", "SYSTEMD", "Options", "Supervisor", "run"]

"""The supervisor: owns the mount and the descriptor of its session, keeps the workers running, writes the log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from lxcfs_py import __version__, log, registry
from lxcfs_py.counters import Table
from lxcfs_py.daemon import control, metrics, mount, sampler, triggers, workers
from lxcfs_py.daemon.status import Status
from lxcfs_py.files import Files
from lxcfs_py.loads import Loads
from lxcfs_py.procfs import cpulist, pid_stat
from lxcfs_py.record import Record
from lxcfs_py.seccomp.keeper import Keeper

if TYPE_CHECKING:
    from lxcfs_py.host import Host

RELAY = "LXCFS_PY_RELAY"
"""Set to 1: serve as on a kernel that can't resend (before 6.9)."""
PAUSE_SECONDS = 0.2


class Options(Record):
    """What ``lxcfs-py serve`` was asked for."""

    mountpoint: str
    workers: int
    host: Host
    pidfile: str = ""
    nonempty: bool = False
    """The mount point may hold files; the mount covers them."""
    metrics: str = ""
    """Where Prometheus asks, as ``metrics.listen`` has it; "" for nowhere."""


def _announce(options: Options, loads: int) -> str:
    """Write that we serve, and under which descriptor the loads are; return the file's path."""
    directory = f"{options.host.run}/lxcfs-py"
    os.makedirs(directory, mode=0o755, exist_ok=True)
    with open("/proc/self/stat", "rb") as file:
        own = pid_stat.parse(file.read())
    found = {
        "pid": os.getpid(),
        "start_ticks": own.start_ticks if own else 0,
        "mountpoint": options.mountpoint,
        "version": __version__,
        "loads": loads,
    }
    path = f"{directory}/daemon.json"
    with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.rename(f"{path}.{os.getpid()}", path)
    return path


def _withdraw(path: str) -> None:
    """Remove the announcement if it is still ours."""
    try:
        with open(path, encoding="utf-8") as file:
            if json.load(file)["pid"] == os.getpid():
                os.unlink(path)
    except (OSError, ValueError, KeyError):
        return


def _bound(options: Options) -> list[str]:
    """Return the registered containers that still run: their files are gone when we are."""
    found = []
    for id_ in registry.ids(options.host):
        try:
            about = registry.load(options.host, id_)
            with open(f"{options.host.proc}/{about.init_pid}/stat", "rb") as file:
                stat = pid_stat.parse(file.read())
        except Exception:  # noqa: BLE001, S112  (whatever is wrong with it, it names nobody)
            continue
        if stat is not None and stat.start_ticks == about.init_start_ticks:
            found.append(id_)
    return found


class Supervisor:
    """Serves one mount."""

    def __init__(self, options: Options) -> None:
        self.options = options
        mount.prepare(options.mountpoint, nonempty=options.nonempty)
        self.metrics = metrics.listen(options.metrics) if options.metrics else None
        self.fuse, init = mount.mount(options.mountpoint)
        cpus = len(cpulist.parse(Files().read(f"{options.host.sys}/devices/system/cpu/possible"))) or 1
        self.messages, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        triggers_end, workers_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kept = theirs, triggers_end, workers_end
        self.triggers = triggers.Service(self.fuse, triggers_end, log.write)
        names = "lxcfs-py", "lxcfs-py-nodes", "lxcfs-py-loads", "lxcfs-py-counters"
        memory, table, loads, counters = map(os.memfd_create, names)
        relay = not init.has_resend or os.environ.get(RELAY) == "1"
        descriptors = self.fuse, memory, table, loads, counters, theirs.fileno(), workers_end.fileno()
        self.task = workers.Task(*descriptors, options.workers, cpus, init, relay, options.host)
        self.keeper = Keeper(options.host, theirs.fileno(), loads, log.write)
        self.control = control.listen(options.host)

    def _template(self) -> subprocess.Popen[bytes]:
        task = self.task
        return subprocess.Popen(
            [sys.executable, "-m", "lxcfs_py.daemon.workers", workers.pack(task), str(os.getpid())],
            pass_fds=task.descriptors,
            stdin=subprocess.DEVNULL,
            cwd="/",
        )

    async def _keep_workers(self, scope: trio.CancelScope) -> None:
        while True:
            template = self._template()
            try:
                pidfd = os.pidfd_open(template.pid)
                try:
                    await trio.lowlevel.wait_readable(pidfd)
                finally:
                    os.close(pidfd)
                code = template.wait()
            except BaseException:
                template.kill()
                template.wait()
                raise
            if code == 0:
                log.write(f"{self.options.mountpoint} was unmounted")
                scope.cancel()
                return
            log.write(f"the workers' template ended with {code}; another one starts")
            await trio.sleep(PAUSE_SECONDS)

    async def _write_log(self) -> None:
        limiter = log.Limiter()
        messages = trio.socket.from_stdlib_socket(self.messages)
        while True:
            if line := limiter.line(log.unpack(await messages.recv(log.MOST_BYTES))):
                log.write(line)

    async def _wait_for_signal(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                if number != signal.SIGHUP:
                    scope.cancel()
                    return

    async def serve(self) -> None:
        """Serve until SIGTERM, SIGINT or an unmounting."""
        self.triggers.start()
        table = Table(self.task.counters, self.options.workers)
        status = Status(self.options.host, self.options.mountpoint, table, self.keeper, self.triggers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_workers, nursery.cancel_scope)
            nursery.start_soon(self._write_log)
            nursery.start_soon(sampler.sample, self.options.host, Loads(self.task.loads))
            nursery.start_soon(self.keeper.serve)
            nursery.start_soon(control.serve, self.control, {"status": status.get})
            if self.metrics:
                nursery.start_soon(metrics.serve, self.metrics, status.get)
            nursery.start_soon(self._wait_for_signal, nursery.cancel_scope)

    def stop(self) -> None:
        """Unmount, and name who is left without us."""
        self.triggers.stop()
        self.control.close()
        if self.metrics:
            self.metrics.close()
        if left := _bound(self.options):
            log.write(f"stopped; these containers still had its files: {', '.join(left)}")
        there = mount.mounted(self.options.mountpoint)
        if there is not None and there.fstype == mount.FSTYPE:
            mount.umount(self.options.mountpoint)
        os.close(self.fuse)
        self.keeper.close()


def run(options: Options) -> None:
    """Serve; raises an Error if it can't begin."""
    supervisor = Supervisor(options)
    announced = ""
    try:
        announced = _announce(options, supervisor.task.loads)
        if options.pidfile:
            with open(options.pidfile, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        trio.run(supervisor.serve)
    finally:
        if announced:
            _withdraw(announced)
        if options.pidfile and os.path.exists(options.pidfile):
            os.unlink(options.pidfile)
        supervisor.stop()


__all__ = ["Options", "Supervisor", "run"]

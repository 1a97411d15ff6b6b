"""The supervisor: keeps the workers of a session running, samples, watches, writes the log.

                    nobody keeps the descriptors     a keeper does (``holder``, systemd)
it is killed        its workers die with it          its workers serve on; the next supervisor's follow them
SIGTERM             unmounts                         ``holder``: unmounts; systemd: as if it were killed
SIGHUP, SIGUSR1     nothing                          begins anew, with the code that is there by then
"""

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
from lxcfs_py.container import start_ticks
from lxcfs_py.counters import Table
from lxcfs_py.daemon import control, metrics, mount, notify, sampler, triggers, workers
from lxcfs_py.daemon.status import Status
from lxcfs_py.files import Files
from lxcfs_py.loads import Loads
from lxcfs_py.procfs import cpulist, pid_stat
from lxcfs_py.record import Record
from lxcfs_py.seccomp.keeper import Keeper

if TYPE_CHECKING:
    from lxcfs_py.daemon.processes import Template
    from lxcfs_py.daemon.session import Session
    from lxcfs_py.host import Host

RELAY = "LXCFS_PY_RELAY"
"""Set to 1: serve as on a kernel that can't resend (before 6.9)."""
PAUSE_SECONDS = 0.2
LOOK_SECONDS = 0.25
"""Between two looks at the workers: one that is stopped at both is killed."""
ASK_SECONDS = 1.0
"""Between two questions to the mount. They also wake a worker for what one that was just killed was woken for."""
LEAVE_SECONDS = 2.0
AGAIN = 3
"""The exit code that has the keeper start us again."""
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


def _announce(options: Options, session: Session) -> str:
    """Write that we serve, and under which descriptor the loads are; return the file's path."""
    directory = f"{options.host.run}/lxcfs-py"
    os.makedirs(directory, mode=0o755, exist_ok=True)
    found = {
        "pid": options.pid,
        "start_ticks": start_ticks(options.host, Files(), options.pid) or 0,
        "mountpoint": session.mountpoint,
        "version": __version__,
        "loads": session.descriptors["loads"],
    }
    path = f"{directory}/daemon.json"
    with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.rename(f"{path}.{os.getpid()}", path)
    return path


def _withdraw(path: str, pid: int) -> None:
    """Remove the announcement if it is still ours."""
    try:
        with open(path, encoding="utf-8") as file:
            if json.load(file)["pid"] == pid:
                os.unlink(path)
    except (OSError, ValueError, KeyError):
        return


def _bound(host: Host) -> list[str]:
    """Return the registered containers that still run: their files are gone when we are."""
    found = []
    for id_ in registry.ids(host):
        try:
            about = registry.load(host, id_)
            with open(f"{host.proc}/{about.init_pid}/stat", "rb") as file:
                stat = pid_stat.parse(file.read())
        except Exception:  # noqa: BLE001, S112  (whatever is wrong with it, it names nobody)
            continue
        if stat is not None and stat.start_ticks == about.init_start_ticks:
            found.append(id_)
    return found


class Supervisor:
    """Serves one session."""

    def __init__(self, options: Options, session: Session) -> None:
        self.options, self.session = options, session
        shared = session.descriptors
        self.metrics = metrics.listen(options.metrics) if options.metrics else None
        self.messages, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        triggers_end, workers_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.kept = theirs, triggers_end, workers_end
        self.triggers = triggers.Service(shared["fuse"], triggers_end, log.write)
        relay = not session.init.has_resend or os.environ.get(RELAY) == "1"
        self.task = workers.Task(
            **shared,
            messages=theirs.fileno(),
            triggers=workers_end.fileno(),
            first=0,
            workers=session.workers,
            cpus=possible_cpus(options.host),
            init=session.init,
            relay=relay,
            host=options.host,
        )
        self.keeper = Keeper(options.host, theirs.fileno(), shared["loads"], log.write)
        self.control = control.listen(options.host)
        self.code = 0

    def _template(self, task: workers.Task, *, cold: bool) -> subprocess.Popen[bytes]:
        parent = os.getpid() if self.options.keeper == NOBODY else 0
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "lxcfs_py.daemon.workers",
                workers.pack(task),
                str(parent),
                "cold" if cold else "",
            ],
            pass_fds=task.descriptors,
            stdin=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # the terminal's Ctrl-C is ours
        )

    async def _keep_workers(self, scope: trio.CancelScope) -> None:
        processes = self.session.processes
        while True:
            before = self.session.templates(self.options.host)
            if len(before) == 2:  # a supervisor was killed while one followed the other
                await _retire(before.pop(0))
            generation = 1 if 0 in before else 0
            first = generation * self.session.workers
            template = self._template(self.task.replace(first=first), cold=not before)
            try:
                while processes.template(generation).pid != template.pid or first not in processes.workers():
                    if template.poll() is not None:
                        break
                    await trio.sleep(0.01)
                else:
                    for each in before.values():
                        await _retire(each)
                    notify.notify("READY=1")
                    await _ended(template.pid)
            except trio.Cancelled:
                template.returncode = 0  # it goes on, or ``stop`` unmounts: nobody waits for it
                raise
            code = template.wait()
            if code == 0:
                log.write(f"{self.session.mountpoint} was unmounted")
                scope.cancel()
                return
            log.write(f"the workers' template ended with {code}; another one starts")
            await trio.sleep(PAUSE_SECONDS)

    async def _watch(self) -> None:
        """Kill workers, and templates, that are stopped: who reads would wait for them."""
        stopped: set[int] = set()
        while True:
            await trio.sleep(LOOK_SECONDS)
            templates = {each.pid for each in self.session.templates(self.options.host).values()}
            pids = {*templates, *self.session.processes.workers().values()}
            now = {pid for pid in pids if _is_stopped(self.options.host, pid, templates)}
            for pid in now & stopped:
                log.write(f"process {pid} is stopped: killed, another one takes its place")
                os.kill(pid, signal.SIGKILL)
            stopped = now - stopped

    async def _ask(self) -> None:
        """Ask the mount something now and then; systemd's watchdog hears of it when it has answered."""
        pause = min(ASK_SECONDS, notify.watchdog_seconds() or ASK_SECONDS)
        while True:
            await trio.sleep(pause)
            try:
                await trio.to_thread.run_sync(os.statvfs, self.session.mountpoint, abandon_on_cancel=True)
            except OSError as error:
                log.write(f"{self.session.mountpoint} does not answer: {log.cause(error)}")
                await trio.sleep(10 * pause)
                continue
            notify.notify("WATCHDOG=1")

    async def _write_log(self) -> None:
        limiter = log.Limiter()
        messages = trio.socket.from_stdlib_socket(self.messages)
        while True:
            if line := limiter.line(log.unpack(await messages.recv(log.MOST_BYTES))):
                log.write(line)

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
            nursery.start_soon(self._keep_workers, scope)
            nursery.start_soon(self._write_log)
            nursery.start_soon(self._watch)
            nursery.start_soon(self._ask)
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
        self.triggers.stop()
        self.control.close()
        if self.metrics:
            self.metrics.close()
        self.keeper.close()
        if self.left:
            return
        if left := _bound(self.options.host):
            log.write(f"stopped; these containers still had its files: {', '.join(left)}")
        there = mount.mounted(self.session.mountpoint)
        if there is not None and there.fstype == mount.FSTYPE:
            mount.umount(self.session.mountpoint)


def possible_cpus(host: Host) -> int:
    """Return how many CPUs this host may ever have."""
    return len(cpulist.parse(Files().read(f"{host.sys}/devices/system/cpu/possible"))) or 1


async def _retire(template: Template) -> None:
    """Have the workers of a template leave, and it with them."""
    try:
        pidfd = os.pidfd_open(template.pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        with trio.move_on_after(LEAVE_SECONDS):
            await trio.lowlevel.wait_readable(pidfd)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


async def _ended(pid: int) -> None:
    """Wait until a child of ours has ended."""
    pidfd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


def _is_stopped(host: Host, pid: int, templates: set[int]) -> bool:
    """Say whether a template or a worker of one is stopped; a number that is somebody else's by now is not."""
    try:
        with open(f"{host.proc}/{pid}/stat", "rb") as file:
            found = pid_stat.parse(file.read())
    except OSError:
        return False
    return found is not None and found.state in "Tt" and bool({pid, found.ppid} & templates)


def run(options: Options, session: Session) -> int:
    """Serve; return the exit code. What goes wrong here ends us and nothing else: a keeper starts us again."""
    supervisor = Supervisor(options, session)
    announced = _announce(options, session)
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
            _withdraw(announced, options.pid)
            if options.pidfile and os.path.exists(options.pidfile):
                os.unlink(options.pidfile)
        supervisor.stop()
    return supervisor.code


__all__ = ["AGAIN", "HOLDER", "NOBODY", "SYSTEMD", "Options", "Supervisor", "run"]

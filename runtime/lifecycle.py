"""Starts a container and looks after it: the host's side, and the child that becomes the container.

parent                                            child
claims the name, makes cgroups and limits
clones  ──────────────────────────────────────►  in new namespaces, and in cgroup2
writes down that it exists,                       enters v1's cgroups, then carries out the plan (runtime.plan):
registers it for the daemon                       cgroup namespace, root file system
says "go"  ───────────────────────────────────►  Await, then pivot_root, mounts (the views among them), execve
waits for the report  ◄──────────────────────    terminal, or what went wrong; closed: it runs
serves signals and the terminal until the end; removes what only a running container needs

The child moves itself because that is quick (``control.doors``), and whatever it makes is counted as its own. It
holds the lock too, until execve: nobody cleans up after a parent that was killed before the child has gone as well.
"""

from __future__ import annotations

import os
import sys
import time

from lxcfs_py.cgroup import control, layout
from lxcfs_py.errors import Error, reason
from lxcfs_py.files import Files
from lxcfs_py.procfs import pid_stat
from lxcfs_py.registry import Registration, register
from lxcfs_py.served import PRESSURE
from runtime import cgroups, cleanup, daemon, plan, resources, rootfs, seccomp, state, users
from runtime import process as runner
from runtime import syscalls as sc
from runtime.errors import RunError
from runtime.report import Report, guarded, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from runtime.request import Request
    from runtime.steps import Step
else:
    import _socket

NAMESPACES = {
    "mount": sc.CLONE_NEWNS, "pid": sc.CLONE_NEWPID, "uts": sc.CLONE_NEWUTS, "ipc": sc.CLONE_NEWIPC,
    "network": sc.CLONE_NEWNET,
}  # fmt: skip
STOP = "PYPROC_TEST_STOP"
"""``fail:N`` or ``kill:N``: what happens after step N of ``stages`` and the plan, for tests of the undoing."""
STUBBORN = 3
"""The SIGINT or SIGTERM that becomes SIGKILL: PID 1 without a handler ignores all others."""


class Start:
    """One start. ``stages`` are the parent's steps before the plan, each a method."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.host = cleanup.host()
        self.files = Files()
        self.layout = layout.detect(self.host, self.files)
        self.base = f"{request.storage}/containers/{request.id}"
        self.old = f".{os.urandom(8).hex()}"
        self.state = state.State(
            request.id,
            f"{request.root}/{request.id}",
            self.base,
            request.spec["linux"]["cgroupsPath"],
            time.time_ns(),
            tuple(request.spec["process"]["args"]),
            phase=state.CREATED,
            detached=request.detach,
            remove=request.remove,
        )
        self.limits = resources.limits(request.spec["linux"]["resources"])
        self.kinds = {namespace["type"] for namespace in request.spec["linux"]["namespaces"]}
        self.lock = self.child = self.pidfd = self.done = -1
        self.doors: Sequence[str] = ()
        self.go, self.say_go = os.pipe2(os.O_CLOEXEC)
        self.report, self.theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.steps: list[Step] = []
        self.filter: seccomp.Filter | None = None
        self.agent: _socket.socket | None = None

    def stages(self) -> Sequence[Callable[[], None]]:
        """Return the parent's steps, in order."""
        return (self.claim, self.cgroups, self.clone, self.record, self.registration)

    def prepare(self, views: str) -> None:
        """Decide the plan."""
        paths = daemon.paths(self.host, self.layout) if views else ()
        facts = plan.Facts(
            root=rootfs.gather(self.request.rootfs, self.base, self.files.read(f"{self.host.proc}/self/mountinfo")),
            layout=self.layout,
            views=views,
            view_paths=paths,
            masked=(f"/{PRESSURE}",) if views and not any(path.startswith(PRESSURE) for path in paths) else (),
            resolv="" if "network" in self.kinds else users.read("/etc/resolv.conf").decode("utf-8", "replace"),
        )
        self.steps = plan.build(self.request, self.base, facts, self.old, self.go)
        if rootfs.in_memory(facts.root):
            text = f"{self.request.storage} ({facts.root.fstype}) can't carry an overlay's upper layer"
            os.write(2, f"pyproc-run: {text}: a tmpfs does, and what is written counts as memory\n".encode())

    def filtered(self) -> seccomp.Filter | None:
        """Compile the filter of system calls."""
        request = self.request
        must, kept = request.proc_view == "require", f"{request.storage}/filters"
        return seccomp.of(request.spec, request.id, self.state.bundle, must=must, kept=kept)

    def claim(self) -> None:
        """Take the name, and write down what will be there."""
        self.lock = state.claim(self.request.root, self.request.id)
        state.write(f"{self.state.bundle}/config.json", self.request.spec)
        state.save(self.request.root, self.state)
        os.makedirs(self.base, mode=0o700, exist_ok=True)

    def cgroups(self) -> None:
        """Make the cgroups with limits and device rules."""
        rules = self.request.spec["linux"]["resources"]["devices"]
        cgroups.make(self.host, self.layout, self.state.cgroup, self.limits, rules)

    def clone(self) -> None:
        """Make the child, in its namespaces and in cgroup2."""
        offset = self._time_namespace() if "time" in self.kinds else 0
        flags = sum(NAMESPACES[kind] for kind in self.kinds if kind in NAMESPACES)
        pid, self.doors = cgroups.clone(flags, self.layout, self.state.cgroup)
        if pid == 0:
            self.report.close()
            guarded(self.theirs, self.become)
        self.child = pid
        self.pidfd = os.pidfd_open(pid)
        found = pid_stat.parse(self.files.read(f"{self.host.proc}/{pid}/stat"))
        if found is None:
            raise RunError(f"{self.host.proc}/{pid}/stat can't be understood", "is /proc mounted?")
        self.state = self.state.replace(pid=pid, start_ticks=found.start_ticks, boottime_offset_nsec=offset)

    def _time_namespace(self) -> int:
        """Let our children's clocks start at 0; return the offset (time_namespaces(7))."""
        sc.unshare(sc.CLONE_NEWTIME)
        for clock in (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC):  # no clock may become negative
            offset = -time.clock_gettime_ns(clock)
            seconds, nsec = divmod(offset, 1_000_000_000)
            try:
                with open(f"{self.host.proc}/self/timens_offsets", "w", encoding="utf-8") as file:
                    file.write(f"monotonic {seconds} {nsec}\nboottime {seconds} {nsec}\n")
            except OSError:
                continue
            return offset
        return 0

    def record(self) -> None:
        """Write down that it exists."""
        state.save(self.request.root, self.state)

    def registration(self) -> None:
        """Register it for the daemon."""
        paths = {name: self.state.cgroup for name in self.layout.hierarchies if not name.startswith("name=")}
        register(
            self.host,
            Registration(self.state.id, self.child, self.state.start_ticks, paths, self.state.boottime_offset_nsec),
        )

    def test_stop(self, number: int) -> None:
        """Fail or be killed after step ``number`` if a test says so."""
        how, _, at = os.environ.get(STOP, "").partition(":")
        if at != str(number):
            return
        if how == "fail":
            raise RunError(f"stopped after step {number}", f"{STOP} said so")
        if self.child == 0:
            send(self.theirs, b"kill")
            time.sleep(60)
        os.kill(os.getpid(), 9)

    def start(self) -> Report:
        """Do all of it; return the child's report. Undoes everything if any step fails."""
        try:
            for number, stage in enumerate(self.stages()):
                stage()
                self.test_stop(number)
            self.theirs.close()
            os.write(self.say_go, b"!")
            result = Report()
            if self.filter and self.agent:
                result.pid, hand_over, agent = self.child, self.filter.hand_over, self.agent
                result.on_listener = lambda listener, pid: hand_over(agent, listener, pid)
            result.read(self.report)
            if result.error is not None:
                raise result.error
            self.state = self.state.replace(phase=state.RUNNING)
            state.save(self.request.root, self.state)
        except BaseException:
            self.undo()
            raise
        return result

    def undo(self) -> None:
        """Remove everything."""
        if self.child > 0:
            os.kill(self.child, 9)
            os.waitpid(self.child, 0)
        if self.lock >= 0:
            cleanup.cleanup(self.state, self.layout)
            os.close(self.lock)

    def become(self) -> NoReturn:
        """Become the container's first process; runs in the child."""
        self.child = 0
        sc.prctl(sc.PR_SET_PDEATHSIG, 9)  # a start that is cut off leaves nothing running
        sc.prctl(sc.PR_SET_DUMPABLE, 0)
        os.close(self.say_go)  # ours, so that the parent's end is the last
        if self.request.init:
            from runtime import init
        if self.request.spec["process"]["terminal"]:
            from runtime import terminal
        sys.meta_path.clear()  # what is imported has been by now: later the files found would be the container's
        control.enter(self.doors)
        log = -1
        if self.request.detach:
            log = os.open(f"{self.base}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        empty = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number, step in enumerate(self.steps, len(self.stages())):
            try:
                step.execute()
            except OSError as error:
                raise RunError(f"{step.describe()}: {reason(error)}", "see --dry-run for all steps") from error
            self.test_stop(number)
        command = users.complete(self.request.spec["process"])
        if command["terminal"]:
            master, slave = terminal.make()
            send(self.theirs, b"terminal", master)
            os.close(master)
            terminal.take(slave, command["user"]["uid"])
        else:
            os.setsid()
            if not self.request.interactive:
                os.dup2(empty, 0)
            if log >= 0:
                os.dup2(log, 1)
                os.dup2(log, 2)
        if self.request.detach:
            sc.prctl(sc.PR_SET_PDEATHSIG, 0)
        load = self.filter.loader(self.theirs, heard=self.agent is not None) if self.filter else lambda: None
        if self.request.init:
            init.run(lambda: guarded(self.theirs, lambda: runner.apply(command, load)))
        runner.apply(command, load)

    def attend(self, result: Report) -> int:
        """Serve signals and the terminal until the command ends; return its exit code."""
        from runtime import signals, terminal  # while the command begins

        stubborn = 0

        def forward(number: int) -> None:
            nonlocal stubborn
            stubborn += number in (2, 15)
            signals.send(self.pidfd, 9 if stubborn >= STUBBORN else number)

        with terminal.Signals(signals.FORWARDED) as got:
            stdin = 0 if self.request.interactive else -1
            terminal.relay(self.pidfd, got, forward, master=result.master, stdin=stdin, stdout=1)
        code = os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])
        return code if code >= 0 else 128 - code

    def finish(self, code: int) -> None:
        """Say what the limits did, and remove what only a running container needs, or all with --rm."""
        if control.oom_kills(self.layout, self.state.cgroup):
            limit = self.limits.memory_bytes
            text = f"limit of {limit >> 20} MiB" if limit else "limit of a cgroup above it, or of the machine"
            os.write(
                2, f"pyproc-run: the memory {text} was reached and a process was killed; give -m more\n".encode()
            )
        if control.pids_max_hits(self.layout, self.state.cgroup):
            text = f"limit of {self.limits.pids_limit} processes was reached; give --pids-limit more"
            os.write(2, f"pyproc-run: the {text}\n".encode())
        self.state = self.state.replace(exit_code=code)
        if self.request.remove:
            cleanup.cleanup(self.state, self.layout)
        else:
            cleanup.ended(self.state, self.layout)
            state.save(self.request.root, self.state)


def run(request: Request) -> int:
    """Start the container and return the exit code; raises an Error if it can't be started."""
    start = Start(request)
    cleanup.sweep(request.root, request.storage, start.layout)
    start.filter = start.filtered()
    start.prepare(daemon.find(start.host, request.proc_view))
    if start.filter is not None and start.filter.asks:
        start.agent = start.filter.connect()
    result = start.start()
    os.close(start.lock)
    if request.detach:
        os.write(1, f"{request.id}\n".encode())
        return 0
    code = start.attend(result)
    start.finish(code)
    return code


def describe(request: Request) -> list[str]:
    """Return what ``run`` would do, a line a step."""
    start = Start(request)
    start.prepare(daemon.serving(start.host) if request.proc_view != "off" else "")
    lines = [f"{stage.__name__}: {(stage.__doc__ or '').splitlines()[0]}" for stage in start.stages()]
    found = start.filtered()
    filters = [found.describe()] if found else []
    return [*lines, *(step.describe() for step in start.steps), *filters, f"execve {' '.join(start.state.command)}"]


__all__ = ["Error", "Start", "describe", "run"]

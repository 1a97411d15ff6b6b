"""Makes a container up to the moment before its command, the host's side: ``pyproc create``, half of ``pyproc-run``.

parent (here)                                     child (lifecycle.entry)
claims the name, makes cgroups and limits
clones  ──────────────────────────────────────►  in new namespaces, and in cgroup2
writes down that it exists,                       enters v1's cgroups, then carries out the plan (root.plan):
registers it for the daemon                       cgroup namespace, root file system
says "go"  ───────────────────────────────────►  Await, then mounts (the views among them)
runs hooks  ◄──────────────────── "hooks" ──────  if there are any for the runtime
says "go"  ───────────────────────────────────►  masks, pivot_root, user, working directory, command
keeps the terminal, or sends it away ◄ "ready" ─
writes down that it is created, says "go"  ───►  lets go of the lock and waits for ``lifecycle.start`` on its socket

The child moves itself because that is quick (``control.doors``), and whatever it makes is counted as its own. It
holds the lock too, until it waits: nobody cleans up after a parent that was killed before the child has gone as well.
"""

from __future__ import annotations

import os

from lxcfs_py import process
from lxcfs_py.errors import reason
from runtime import claims, places, state
from runtime.config import bundle
from runtime.errors import RunError
from runtime.lifecycle import entry, oci, prepare
from runtime.process import cgroups, labels, namespaces
from runtime.report import NETWORK, Report, guarded, stop_at
from runtime.root import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from runtime.lifecycle.again import Before
    from runtime.process.net_devices import Moved
    from runtime.process.seccomp import Filter
    from runtime.request import Request
    from runtime.root.steps import Step
else:
    import _socket


class Create:
    """One container in the making. ``stages`` are the parent's steps before the plan, each a method."""

    def __init__(self, request: Request, before: Before | None = None) -> None:
        self.before = before
        self.request = request.replace(spec=bundle.complete(request.spec))
        spec, linux = self.request.spec, self.request.spec["linux"]
        labels.check(spec["process"], option=not request.bundle)
        self.host = places.host()
        self.unprivileged = places.unprivileged(self.host.proc)
        self.registers = places.registers(self.host)
        self.detected = places.layout("/")
        self.layout, self.cgroup, self.unit = prepare.place(
            self.request, self.host.proc, self.detected, unprivileged=self.unprivileged
        )
        self.ours = self.layout.replace(hierarchies={})
        """Where the cgroup is of our making, once that is known: the rest stays if we fail."""
        self.base = "" if request.bundle else f"{request.storage}/containers/{request.id}"
        self.spaces = namespaces.decide(linux)
        self.state = prepare.state_of(self.request, self.base, "" if self.unit else self.cgroup, before)
        self.rdt = linux.get("intelRdt")
        self.limits, self.unlimited = prepare.limits(self)
        self.lock = self.child = self.keeper = -1
        self.streams: Sequence[int] = ()
        """The container's standard streams where they are neither a terminal nor the caller's."""
        self.go, self.say_go = os.pipe2(os.O_CLOEXEC)
        self.report, self.theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self.listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        self.starter: _socket.socket | None = None
        self.said = Report()
        self.steps: list[Step] = []
        self.filters: tuple[Filter | None, ...] = ()
        self.moved: Moved | None = None
        self.parts: dict[str, tuple[str, ...]] = {}
        """What its root is made of (``rootfs.parts``), as far as it is on the disk."""

    def stages(self) -> Sequence[Callable[[], None]]:
        """Return the parent's steps, in order."""
        devices = (self.net_devices,) if self.request.spec["linux"]["netDevices"] else ()
        network = (self.network,) if self.request.network else ()
        return (self.claim, self.cgroups, self.clone, self.record, *devices, *network, self.registration)

    def prepare(self, views: str) -> None:
        """Decide the plan; ``views`` is where the daemon serves, "" for the kernel's /proc."""
        facts = prepare.facts(self, views)
        if facts.root:
            from runtime.root import rootfs

            self.parts = {} if rootfs.in_memory(facts.root) else rootfs.parts(self.request.lowers, facts.root)
        channel = plan.Channel(self.go, self.theirs.fileno())
        told = self.told(state.CREATING)
        self.steps = plan.build(self.request, self.base, self.cgroup, facts, channel, told)
        prepare.warn(self, facts.root)

    def told(self, status: str) -> dict[str, Any]:
        """Return the state that hooks are told."""
        return oci.state(self.state, status)

    def claim(self) -> None:
        """Take the name, and write down what will be there."""
        try:
            if self.before is not None:
                from runtime.lifecycle import cleanup

                self.lock = self.before.lock
                cleanup.reset(self.before.state, places.layout(self.before.state.cgroup))
            elif self.base:
                from runtime.lifecycle import again

                self.lock = again.room(self.request.root, self.request.id, self.base)
            else:
                self.lock = claims.claim(self.request.root, self.request.id)
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            raise RunError(reason(error), "give a --root and a --storage of your own") from error
        self.ours = self.layout if self.unit else cgroups.ours(self.layout, self.cgroup)
        state.write(f"{self.state.directory}/config.json", self.request.spec)
        state.save(self.state)
        if self.base:
            from runtime.lifecycle import again
            from runtime.root import rootfs

            state.write(f"{self.base}/{rootfs.PARTS}", self.parts)
            again.begin(self.request, self.base)
        self.listener.bind(f"/proc/self/fd/{self.lock}/{state.SOCKET}")  # a socket's address has 108 bytes
        self.listener.listen(1)

    def cgroups(self) -> None:
        """Make the cgroups with limits and device rules."""
        rules = None if self.unprivileged else self.request.spec["linux"]["resources"]["devices"]
        if self.unit:
            self.keeper = cgroups.start_scope(self.unit, self.state.id, self.limits, self.state.annotations)
            # From now on it is ours to end: before, it may be somebody else's of the same name.
            self.state = self.state.replace(cgroup=self.cgroup, unit=self.unit.name)
        if self.rdt is not None:
            from runtime.process import resctrl

            resctrl.make(self.rdt, self.state.id)
        cgroups.make(self.host, self.layout, self.state.cgroup, self.limits, rules, there=bool(self.unit))

    def clone(self) -> None:
        """Make the child, in its namespaces and in cgroup2."""
        proc, linux = self.host.proc, self.request.spec["linux"]
        self.filter()
        offsets = linux["timeOffsets"] if self.request.bundle else None
        if self.unprivileged:
            from runtime.process import rootless

            there = self.state.cgroup, self.state.unit
            pid, doors, offset = rootless.birth(self.spaces, self.layout, there, linux, offsets)
        else:
            pid, doors, offset = namespaces.birth(self.spaces, self.layout, self.state.cgroup, proc, offsets)
        if pid == 0:
            guarded(self.theirs, lambda: entry.enter(self, doors))
        self.child = pid
        self._release()
        if "user" in self.spaces.fresh and not self.unprivileged:
            from runtime.process import ids

            ids.give(proc, pid, linux)
        found = process.stat(self.host, pid)
        if found is None:
            raise RunError(f"{proc}/{pid}/stat can't be understood", "is /proc mounted?")
        self.state = self.state.replace(pid=pid, start_ticks=found.start_ticks, boottime_offset_nsec=offset)

    def _release(self) -> None:
        if self.keeper > 0:
            from runtime.systemd import scope

            scope.release(self.keeper)
            self.keeper = -1

    def record(self) -> None:
        """Write down that it exists."""
        state.save(self.state)

    def net_devices(self) -> None:
        """Move the network devices it is to have into its namespace."""
        from runtime.process import net_devices

        self.moved = net_devices.Moved(self.host.proc, self.child)
        self.moved.move(self.request.spec["linux"]["netDevices"])

    def network(self) -> None:
        """Connect it to its network: interfaces, address, rules."""
        if self.request.network:
            from runtime.network import connect

            where = self.request.storage, self.state, f"{self.base}/etc/hosts"
            connect.connect(self.request.network, *where, self._namespace)

    def _namespace(self) -> int:
        """Return a descriptor of its network namespace: nobody else can look into it for one."""
        if not self.said.read(self.report, (NETWORK,)):
            raise self._died()
        return self.said.network

    def _died(self) -> Exception:
        return self.said.error or RunError("the container's first process died", "is its memory limit too low?")

    def _names(self) -> None:
        """Tell it who is in its network: its files of /etc are there now."""
        if self.request.network:
            from runtime.network import connect

            connect.tell(self.state)

    def registration(self) -> None:
        """Register it for the daemon, which knows a user's containers by who reads."""
        if self.registers:
            from runtime.lifecycle import daemon

            daemon.register(self.host, self.detected, self.state)

    def create(self) -> None:
        """Do all of it; undoes everything if any step fails."""
        try:
            for number, stage in enumerate(self.stages()):
                stage()
                stop_at(number)
            self.theirs.close()
            self.listener.close()  # the child's end is the last: when it dies, nobody waits there
            self._say()
            while (word := self.said.read(self.report, (b"hooks", b"ready"))) == b"hooks":
                self._hooks()
                self._say()
            if not word:
                raise self._died()
            self._names()
            if self.request.console_socket:
                from runtime.root import console

                console.hand_over(self.request.console_socket, self.said.master)
            if self.request.pid_file:
                state.write_text(self.request.pid_file, f"{self.child}".encode(), 0o644)
            self.state = self.state.replace(phase=state.CREATED)
            state.save(self.state)
            if self.request.bundle and not self.request.remove:
                claims.settle(self.state.directory)
            if not self.request.bundle:  # nobody else will start it: it ends when we are killed before we do
                from runtime.lifecycle import start

                self.starter = start.connect(self.state.id, self.lock)
            self._say()
            stop_at(len(self.stages()) + len(self.steps))
        except BaseException:
            self.undo()
            raise

    def _say(self) -> None:
        os.write(self.say_go, b"!")

    def _hooks(self) -> None:
        from runtime.process import hooks

        for stage in ("prestart", "createRuntime"):
            hooks.stage(stage, self.request.spec["hooks"], self.told(state.CREATING))

    def undo(self) -> None:
        """Remove everything."""
        from runtime.lifecycle import cleanup

        self._release()
        if self.moved:
            self.moved.back()
        if self.child > 0:
            os.kill(self.child, 9)
            os.waitpid(self.child, 0)
        if self.lock < 0:
            return
        if self.before is not None:
            state.save(cleanup.ended(self.state, self.ours).replace(pid=0))
        else:
            cleanup.cleanup(self.state, self.ours, volumes=True)
        os.close(self.lock)

    def filter(self) -> Filter | None:
        """Return the filter its processes get, compiled once for child and parent."""
        if self.request.spec["linux"].get("seccomp") is None:
            return None
        if not self.filters:
            from runtime.process import seccomp

            request = self.request
            must, kept = request.proc_view == "require", f"{request.storage}/filters"
            self.filters = (seccomp.of(request.spec, request.id, self.state.bundle, must=must, kept=kept),)
        return self.filters[0]

    def describe(self) -> list[str]:
        """Return what is done, a line a step."""
        lines = [f"{stage.__name__}: {(stage.__doc__ or '').splitlines()[0]}" for stage in self.stages()]
        lines += [step.describe() for step in self.steps]
        filter_ = self.filter()
        return [*lines, *([filter_.describe()] if filter_ else []), f"execve {' '.join(self.state.command)}"]

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
import time

from lxcfs_py.errors import Error, reason
from lxcfs_py.files import Files
from lxcfs_py.procfs import pid_stat
from lxcfs_py.registry import Registration, directory, register
from lxcfs_py.served import PRESSURE
from runtime import places, state
from runtime.config import bundle
from runtime.errors import RunError
from runtime.lifecycle import entry, oci
from runtime.process import cgroups, labels, namespaces, resources
from runtime.report import Report, guarded, send
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

STOP = "PYPROC_TEST_STOP"
"""``fail:N`` or ``kill:N``: what happens after step N of ``stages`` and the plan, for tests of the undoing."""
RESOLV = ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
"""The host's, and the one systemd-resolved leaves for those who can't reach it by the host's loopback."""


class Create:
    """One container in the making. ``stages`` are the parent's steps before the plan, each a method."""

    def __init__(self, request: Request, before: Before | None = None) -> None:
        self.before = before
        self.request = request.replace(spec=bundle.complete(request.spec))
        spec, linux = self.request.spec, self.request.spec["linux"]
        labels.check(spec["process"], option=not request.bundle)
        self.host = places.host()
        self.files = Files()
        self.unprivileged = places.unprivileged(self.host.proc)
        self.registers = places.registers(self.host)
        self.detected = places.layout("/")
        if self.unprivileged:
            from runtime.process import delegated

            self.layout, self.cgroup, self.unit = delegated.place(self.host.proc, self.detected, request)
        else:
            self.unit = cgroups.unit(request, self.detected)
            self.cgroup = cgroups.place(request, self.unit)
            self.layout = self.detected if self.cgroup else places.layout("")
        self.ours = self.layout.replace(hierarchies={})
        """Where the cgroup is of our making, once that is known: the rest stays if we fail."""
        self.base = "" if request.bundle else f"{request.storage}/containers/{request.id}"
        self.spaces = namespaces.decide(linux)
        self.state = state.State(
            request.id,
            f"{request.root}/{request.id}",
            request.bundle or f"{request.root}/{request.id}",
            self.base,
            "" if self.unit else self.cgroup,
            time.time_ns(),
            tuple(spec["process"]["args"]),
            phase=state.CREATING,
            detached=request.detach,
            remove=request.remove,
            annotations=spec["annotations"],
        )
        if before is not None:  # what it has been counts on until it runs again
            kept = {name: getattr(before.state, name) for name in ("created_nsec", "started_nsec", "exit_code")}
            self.state = self.state.replace(**kept)
        self.rdt = linux.get("intelRdt")
        self.limits = resources.limits(linux["resources"])
        self.unlimited: tuple[str, ...] = ()
        if self.unprivileged:
            self.limits, self.unlimited = delegated.enforced(self.limits, self.layout)
            if not (self.cgroup or request.bundle or "pid" in self.spaces.fresh):
                raise RunError("--pid host without a cgroup: nothing tells its processes", delegated.GIVES)
        elif not self.cgroup and self.limits != type(self.limits)():
            raise RunError("--cgroup-manager disabled: limits need a cgroup", "leave them out")
        self.lock = self.child = self.keeper = -1
        self.streams: Sequence[int] = ()
        """The container's standard streams where they are neither a terminal nor the caller's."""
        self.doors: Sequence[str] = ()
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
        extra = (*devices, *network)
        return (self.claim, self.cgroups, self.clone, self.record, *extra, self.registration)

    def prepare(self, views: str) -> None:
        """Decide the plan; ``views`` is where the daemon serves, "" for the kernel's /proc."""
        request = self.request
        paths: tuple[str, ...] = ()
        if views:
            from lxcfs_py import serving

            paths = serving.paths(self.host, self.detected)
        facts = plan.Facts(
            layout=self.layout,
            views=f"{views}/containers/{request.id}" if views and self.registers else views,
            view_paths=paths,
            masked=(f"/{PRESSURE}",) if views and not any(path.startswith(PRESSURE) for path in paths) else (),
            nodes=not self.unprivileged,
        )
        if request.bundle and any(mount.get("uidMappings") for mount in request.spec["mounts"]):
            from runtime.root import idmap

            facts = facts.replace(prepared=idmap.prepare(self.host.proc, request.bundle, request.spec["mounts"]))
        if not request.bundle:
            from runtime.root import rootfs

            mounts = self.files.read(f"{self.host.proc}/self/mountinfo")
            root = rootfs.gather(request.lowers, self.base, mounts, user=self.unprivileged)
            self.parts = {} if rootfs.in_memory(root) else rootfs.parts(request.lowers, root)
            facts = facts.replace(root=root, resolv=self._resolv())
        channel = plan.Channel(self.go, self.theirs.fileno())
        self.steps = plan.build(request, self.base, self.cgroup, facts, channel, self.told(state.CREATING))
        if facts.root and not self.parts:
            text = f"{request.storage} ({facts.root.fstype}) can't carry an overlay's upper layer"
            os.write(2, f"pyproc-run: {text}: a tmpfs does, and what is written counts as memory\n".encode())
        if self.unlimited:
            from runtime.process import delegated

            os.write(2, f"pyproc: {delegated.lacking(self.unlimited, self.unit)}\n".encode())

    def _resolv(self) -> str:
        from runtime.config import joined
        from runtime.process import users

        has = self.request.network is not None if "network" in self.spaces.kinds else None
        texts = ("", "") if has is False else (users.read(path).decode("utf-8", "replace") for path in RESOLV)
        return joined.resolv(self.request.names, *texts, network=has)

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
                self.lock = state.claim(self.request.root, self.request.id)
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            raise RunError(reason(error), "give a --root and a --storage of your own") from error
        self.ours = self.layout if self.unit else cgroups.ours(self.layout, self.cgroup)
        state.write(f"{self.state.directory}/config.json", self.request.spec)
        state.save(self.state)
        if self.base:
            from runtime.lifecycle import again
            from runtime.root import rootfs

            state.write(f"{self.base}/{rootfs.PARTS}", self.parts)
            again.keep(self.request, self.base)
        if self.request.image:
            from runtime.images import resolve

            resolve.claim(self.request.image, self.request.storage, self.base)
        if self.request.volumes:
            from runtime import volumes

            volumes.claim(self.request.volumes, self.request.storage, self.base)
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
            self._born(pid, doors)
        elif "time" in self.spaces.fresh:
            with namespaces.Clocks(proc, offsets) as clocks:
                pid, self.doors = self._birth()
            offset = clocks.boottime_nsec
        else:
            pid, self.doors = self._birth()
            offset = 0
        self.child = pid
        self._release()
        if "user" in self.spaces.fresh and not self.unprivileged:
            from runtime.process import ids

            ids.give(proc, pid, linux)
        found = pid_stat.parse(self.files.read(f"{proc}/{pid}/stat"))
        if found is None:
            raise RunError(f"{proc}/{pid}/stat can't be understood", "is /proc mounted?")
        self.state = self.state.replace(pid=pid, start_ticks=found.start_ticks, boottime_offset_nsec=offset)

    def _release(self) -> None:
        if self.keeper > 0:
            from runtime.systemd import scope

            scope.release(self.keeper)
            self.keeper = -1

    def _birth(self) -> tuple[int, tuple[str, ...]]:
        return self._born(*namespaces.birth(self.spaces, self.layout, self.state.cgroup))

    def _born(self, pid: int, doors: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        self.doors = doors
        if self.rdt is not None:
            from runtime.process import resctrl

            self.doors = (*doors, *resctrl.doors(self.rdt, self.state.id))
        if pid == 0:
            guarded(self.theirs, lambda: entry.enter(self))
        return pid, doors

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

            connect.connect(self.request.network, self.request.storage, self.state, f"{self.base}/etc/hosts")

    def _names(self) -> None:
        """Tell it who is in its network: its files of /etc are there now."""
        if self.request.network:
            from runtime.network import connect

            connect.tell(self.state)

    def registration(self) -> None:
        """Register it for the daemon, which knows a user's containers by who reads."""
        if not self.registers:
            return
        found = self.state
        paths = cgroups.own(self.host, self.detected, found.cgroup)
        registration = Registration(found.id, self.child, found.start_ticks, paths, found.boottime_offset_nsec)
        if not register(self.host, registration):
            text = f"the name {found.id!r} is that of a running container of another --root, or another runtime"
            raise RunError(text, f"choose another: {directory(self.host)}/{found.id}.json tells its process")

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

    def create(self) -> None:
        """Do all of it; undoes everything if any step fails."""
        try:
            for number, stage in enumerate(self.stages()):
                stage()
                self.test_stop(number)
            self.theirs.close()
            self.listener.close()  # the child's end is the last: when it dies, nobody waits there
            self._say()
            while (word := self.said.read(self.report, (b"hooks", b"ready"))) == b"hooks":
                self._hooks()
                self._say()
            if not word:
                raise self.said.error or RunError(
                    "the container's first process died", "is its memory limit too low?"
                )
            self._names()
            if self.request.console_socket:
                from runtime.root import console

                console.hand_over(self.request.console_socket, self.said.master)
            if self.request.pid_file:
                state.write_text(self.request.pid_file, f"{self.child}".encode(), 0o644)
            self.state = self.state.replace(phase=state.CREATED)
            state.save(self.state)
            if self.request.bundle and not self.request.remove:
                state.settle(self.state.directory)
            if not self.request.bundle:  # nobody else will start it: it ends when we are killed before we do
                from runtime.lifecycle import start

                self.starter = start.connect(self.state.id, self.lock)
            self._say()
            self.test_stop(len(self.stages()) + len(self.steps))
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
        if self.lock >= 0 and self.before is not None:
            cleanup.ended(self.state, self.ours)
            state.save(self.state.replace(pid=0))
        elif self.lock >= 0:
            cleanup.cleanup(self.state, self.ours, volumes=True)
        if self.lock >= 0:
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


__all__ = ["Create", "Error"]

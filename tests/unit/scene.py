"""A session of the daemon without a mount: its memory, and a socket in the kernel's place."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING

from lxcfs_py.daemon import workers
from lxcfs_py.daemon.processes import Processes
from lxcfs_py.daemon.session import WORKERS, Session
from lxcfs_py.daemon.task import Task
from lxcfs_py.fuse import protocol
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from collections.abc import Callable


COUNT = 2
"""Workers of a generation."""
SECONDS = 20.0


class Scene:
    """The memory of a session, and a kernel that hears what is answered."""

    def __init__(self, *, relay: bool) -> None:
        self.kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.setblocking(False)
        self.messages, self.triggers = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.session = session = Session.begin({"fuse": ours.detach()}, "/mnt", protocol.Init(*range(5)), COUNT)
        self.descriptors = session.descriptors
        self.task = Task(
            **{name: session.descriptors[name] for name in WORKERS},
            messages=self.messages.fileno(), triggers=self.triggers.fileno(), first=0, workers=COUNT, cpus=1,
            init=session.init, relay=relay, host=Host(),
        )  # fmt: skip
        self.processes = Processes(self.task.record)
        self.children: list[int] = []

    def child(self, act: Callable[[], object]) -> int:
        """Fork a process that does something and ends."""
        pid = os.fork()
        if pid == 0:
            try:
                act()
            finally:
                os._exit(0)
        self.children.append(pid)
        return pid

    def dead(self) -> int:
        """Return the pid of a process that has ended."""
        pid = self.child(lambda: None)
        self.reap(pid)
        return pid

    def reap(self, pid: int) -> None:
        """Wait for a child."""
        self.children.remove(pid)
        os.waitpid(pid, 0)

    def hold_request(self, number: int, unique: int, opcode: int = protocol.READ, handle: int = 0) -> None:
        """Have a worker's slot say that it is at a request."""
        struct.pack_into("=IIQ24xQ", self.task.shared().relay(number), 0, 48, opcode, unique, handle)

    def noted(self, number: int) -> int:
        """Return the request that a worker's slot names."""
        return int(struct.unpack_from("=Q", self.task.shared().relay(number), protocol.UNIQUE_OFFSET)[0])

    def heard(self) -> list[tuple[int, int]]:
        """Return what the kernel was told since: errno, or a notification's code, and a request's number."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                _, code, unique = struct.unpack_from("=IiQ", self.kernel.recv(4096))
            except BlockingIOError:
                return found
            found.append((abs(code), unique))

    def flock(self) -> workers.Flock:
        """Return the workers of generation 0, of which we are the template."""
        found = workers.Flock(self.task)
        self.messages.detach()
        self.messages = found._messages
        return found

    def close(self) -> None:
        """Give all back."""
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for descriptor in self.descriptors.values():
            os.close(descriptor)
        for end in (self.kernel, self.messages, self.triggers):
            end.close()


def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)

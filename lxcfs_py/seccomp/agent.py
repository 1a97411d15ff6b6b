"""The agent: answers calls of root's or a user's containers, one of each in turn. It may die at any instruction.

Run as ``python -m lxcfs_py.seccomp.agent`` by the keeper, with descriptors and the host's paths as arguments.

    memory             before                    after
    0                  ioctl NOTIF_RECV          the call, written by the kernel
    the call           the answer, NOTIF_SEND    the call: another NOTIF_SEND fails with ENOENT
    the call           wiped                     0

If the kernel can't write it there it takes the receipt back, so a call is either waiting in the kernel or seen in
memory, and the next agent begins it anew; the third leaves it to the kernel, should it be what they die of. A
caller's memory may be a file of a file system that never answers (FUSE): what writes there can't even be killed. An
agent that is held up is replaced too, and that listener's calls are the kernel's from then on.

An agent whose supervisor has ended serves on, until the next one's is ready and ends it. One of a user's is that user
(``users.become``): it can write where the user could, and no more; the listeners come by way of it (``arrivals``).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import sys
from typing import TYPE_CHECKING

from lxcfs_py import container as containers
from lxcfs_py import log, process, sockets
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from lxcfs_py.loads import Loads, Seen
from lxcfs_py.record import Record
from lxcfs_py.seccomp import memory, protocol, users
from lxcfs_py.seccomp.answers import Answers
from lxcfs_py.seccomp.arrivals import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable

STOP = "LXCFS_PY_SECCOMP_STOP"
"""``STAGE:N``: be killed at that stage from the Nth call on, for tests of what the next agent does."""
STAGES = ("received", "computed", "opened", "written", "sent", "wiped")
MOST_TRIES = 2
LOOK_SECONDS, MOST_LOOKS = 0.2, 50
"""An agent that was killed is held up if it is in a wait that nothing ends (D, proc(5)) at two looks so far apart;
where a CPU is all it waits for it gets the time of all looks.
"""
_libc = ctypes.CDLL(None, use_errno=True)


class Listener(Record):
    """One filter's listener. ``id`` is the container that its runtime named."""

    descriptor: int
    slot: int
    id: str


class Agent:
    """Serves listeners until the keeper and the last of them have gone."""

    def __init__(
        self,
        control: int,
        slots: int,
        host: Host,
        answers: Answers,
        tell: Callable[[str, Exception], None],
        *,
        held_up: bool,
        write: Callable[[str, int, Callable[[], bool], int, bytes], bool] = memory.by_file,
    ) -> None:
        self._control = socket.socket(fileno=control)
        self._held_up, self._write = held_up, write
        self._map = mmap.mmap(slots, protocol.MEMORY_BYTES)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._proc, self._answers, self._tell = host.proc, answers, tell
        self._poll = select.epoll()
        self._listeners: dict[int, Listener] = {}
        self._arrivals = Arrivals(self._poll, self._control)
        stage, _, count = os.environ.get(STOP, "").partition(":")
        self._stop, self._left = stage, int(count or 0)

    def run(self) -> None:
        """Serve."""
        self._poll.register(self._control, select.EPOLLIN)
        kept = True
        while kept or self._listeners:
            for descriptor, event in self._poll.poll():
                listener = self._listeners.get(descriptor)
                if descriptor in self._arrivals:
                    self._pulse(busy=True)
                    self._arrivals.take(descriptor)
                    self._pulse(busy=False)
                elif listener is None:
                    kept = self.take()
                elif event & select.EPOLLIN:
                    self.serve(listener)
                else:  # EPOLLHUP: no process has the filter any more
                    self.drop(listener)

    def take(self) -> bool:
        """Take a listener from the keeper; return False if it has gone."""
        try:
            data, descriptors = sockets.recv_fds(self._control, protocol.STATE_BYTES, 1)
        except ConnectionError:  # said once, before what it had sent: it has gone with messages of ours unread
            return True
        if not data:
            self._poll.unregister(self._control)
            self._control.close()
            null = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(null, stream)
            os.close(null)
            return False
        slot, id_ = protocol.parse_place(data)
        if not descriptors:
            self._tell(id_, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return True
        if slot & protocol.CALLER:
            self._arrivals.begin(slot & ~protocol.CALLER, descriptors[0])
            return True
        listener = Listener(descriptors[0], slot, id_)
        self._listeners[listener.descriptor] = listener
        if any(self._map[self._at(listener) : self._at(listener) + protocol.NOTIF_BYTES]):
            self._left -= 1
            if self._held_up:
                self._map[self._at(listener) + protocol.HOPELESS] = 1
                self._tell(id_, TimeoutError("a caller's memory can't be written; its calls are left to the kernel"))
            self.handle(listener)  # what an agent before us had received
        self._poll.register(listener.descriptor, select.EPOLLIN)
        return True

    def drop(self, listener: Listener) -> None:
        """Close a listener, and have the keeper close its copy."""
        del self._listeners[listener.descriptor]
        self._poll.unregister(listener.descriptor)
        os.close(listener.descriptor)
        self._answers.forget(listener.id)
        try:
            self._control.send(protocol.place(listener.slot))
        except OSError:  # it has gone
            return

    def serve(self, listener: Listener) -> None:
        """Receive one call and answer it. (It never blocks: after POLLIN the kernel has one, or says ENOENT.)"""
        self._wipe(listener)
        if _libc.ioctl(listener.descriptor, protocol.NOTIF_RECV, ctypes.c_void_p(self._address + self._at(listener))):
            number = ctypes.get_errno()
            if number not in (errno.ENOENT, errno.EINTR):  # ENOENT: the caller was killed
                self._tell(listener.id, OSError(number, f"NOTIF_RECV: {os.strerror(number)}"))
                self.drop(listener)
            return
        self._left -= 1
        self._test_stop("received")
        self.handle(listener)

    def handle(self, listener: Listener) -> None:
        """Answer the call that is in the listener's slot, and wipe it."""
        at = self._at(listener)
        call = protocol.parse_call(self._map[at : at + protocol.NOTIF_BYTES])
        tries = self._map[at + protocol.TRIES]
        self._map[at + protocol.TRIES] = tries + 1
        value = None
        self._pulse(busy=True)
        try:
            if tries < MOST_TRIES and not self._map[at + protocol.HOPELESS]:
                value = self._answered(listener, call)
        except Exception as error:  # noqa: BLE001  (whatever it is, the kernel's own answer is better than none)
            if _valid(listener, call):  # else it came of the caller's death
                self._tell(listener.id, error)
        try:
            fcntl.ioctl(listener.descriptor, protocol.NOTIF_SEND, protocol.response(call.id, value))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINPROGRESS):  # the caller was killed; it was sent before
                self._tell(listener.id, error)
        self._pulse(busy=False)
        self._test_stop("sent")
        self._wipe(listener)
        self._test_stop("wiped")

    def _pulse(self, *, busy: bool) -> None:
        count = int.from_bytes(self._map[protocol.PULSE_AT : protocol.PULSE_AT + 8], sys.byteorder)
        count += 1 if count % 2 != busy else 2  # (an agent may have died at one)
        self._map[protocol.PULSE_AT : protocol.PULSE_AT + 8] = (count % (1 << 64)).to_bytes(8, sys.byteorder)

    def _answered(self, listener: Listener, call: protocol.Call) -> int | None:
        """Write the answer into the caller's memory; return what the call returns, None to leave it to the kernel."""
        answer = self._answers.answer(listener.id, call)
        self._test_stop("computed")
        if answer is None:
            return None

        def waits() -> bool:
            """Say whether it does still: its number might be another's by now."""
            self._test_stop("opened")
            return _valid(listener, call)

        try:
            if answer.data and not self._write(self._proc, call.tid, waits, answer.address, answer.data):
                return None
        except (OSError, OverflowError):  # a bad address: the kernel says EFAULT
            return None
        self._test_stop("written")
        return answer.value

    def _at(self, listener: Listener) -> int:
        return listener.slot * protocol.SLOT_BYTES

    def _wipe(self, listener: Listener) -> None:
        self._map[self._at(listener) : self._at(listener) + protocol.HOPELESS] = bytes(protocol.HOPELESS)

    def _test_stop(self, stage: str) -> None:
        if stage == self._stop and self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _valid(listener: Listener, call: protocol.Call) -> bool:
    """Say whether the caller still waits."""
    try:
        fcntl.ioctl(listener.descriptor, protocol.NOTIF_ID_VALID, call.id.to_bytes(8, sys.byteorder))
    except OSError:
        return False
    return True


def succeed(slots: int, host: Host) -> bool:
    """End the agent before us, and take its place; return False if it can't be ended: a caller holds it up."""
    fcntl.lockf(slots, fcntl.LOCK_EX, 1)
    try:
        before = os.pread(slots, protocol.AGENT.size, protocol.AGENT_AT)
        ended = _end(host, *protocol.AGENT.unpack(before))
        own = os.getpid(), containers.start_ticks(host, Files(1), os.getpid()) or 0
        os.pwrite(slots, protocol.AGENT.pack(*own), protocol.AGENT_AT)
    finally:
        fcntl.lockf(slots, fcntl.LOCK_UN, 1)
    return ended


def _end(host: Host, pid: int, start_ticks: int) -> bool:
    """Kill a process; return whether it has ended."""
    if not pid or not process.alive(host, pid, start_ticks):
        return True
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return ended(pidfd, lambda: found.state if (found := process.stat(host, pid)) else "")
    except ProcessLookupError:
        return True
    finally:
        os.close(pidfd)


def ended(pidfd: int, state: Callable[[], str]) -> bool:
    """Wait until a process that was killed has ended; return False if it is held up, by what ``state`` says of it."""
    waits = 0
    for _ in range(MOST_LOOKS):
        if select.select([pidfd], [], [], LOOK_SECONDS)[0]:
            return True
        waits = waits + 1 if state() == "D" else 0
        if waits == 2:
            break
    return False


def main(words: list[str]) -> int:
    """Be the agent."""
    control, slots, messages, loads = map(int, words[:4])
    lines = socket.socket(fileno=messages)
    host = Host(*words[4:8])

    uid = int(words[8])

    def tell(id_: str, error: Exception) -> None:
        id_ = f"user {uid}" if uid else id_  # not what a user calls it
        try:
            lines.send(log.pack(log.Line(log.cause(error), id_, "seccomp")), socket.MSG_DONTWAIT)
        except OSError:  # the supervisor is away or behind: a line less
            return

    answers = Answers(host, Seen(loads) if uid else Loads(loads), registered=not uid)
    if uid:
        users.become(uid)
    held_up = not succeed(slots, host) or words[9:] == ["held-up"]
    write = memory.by_number if uid else memory.by_file
    Agent(control, slots, host, answers, tell, held_up=held_up, write=write).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

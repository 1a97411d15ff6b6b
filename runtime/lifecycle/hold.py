"""A detached container's holder: the process that has started it goes on as ``kernel.holder``.

    caller ── fork ──  holder-to-be: creates and starts the container, as its parent
    waits  ◄── done ─  becomes the program that copies its output, keeps its input open and takes its exit status
    returns

What it holds is found by its descriptors, and it by its pid in the container's directory.
"""

from __future__ import annotations

import os

from lxcfs_py import process
from lxcfs_py.errors import Error
from runtime import state
from runtime.errors import RunError
from runtime.kernel import holder, syscalls
from runtime.places import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from runtime.lifecycle.create import Create
    from runtime.state import State
else:
    import _signal

IGNORED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGTSTP)
"""What ends with who started it must not end its containers."""


def apart(act: Callable[[int], int], said: str) -> int:
    """Do something in a child that lives on, handed a descriptor to write to when all is well.

    Prints what is ``said`` here then and returns 0, else the exit code with which the child gave up, having told why.
    Should we be killed before, so is the child.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        return act(writer) if os.getppid() == parent else 1
    os.close(writer)
    for number in (_signal.SIGINT, _signal.SIGTERM):  # the child, who gets them too or is killed with us, undoes it
        _signal.signal(number, _signal.SIG_IGN)
    if os.read(reader, 1):
        os.write(1, said.encode())
        return 0
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


class Streams:
    """Where a detached container's standard streams lead, from before it is made until its holder has them."""

    def __init__(self, *, terminal: bool, interactive: bool) -> None:
        if terminal:
            self.inner: tuple[int, ...] = ()
            return
        self.source, sink = os.pipe2(os.O_CLOEXEC)
        empty = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        feed, self.input = os.pipe2(os.O_CLOEXEC) if interactive else (empty, empty)
        self.inner = (feed, sink, sink)
        """The container's standard streams, none where it has a terminal."""

    def outer(self, master: int) -> tuple[int, int]:
        """Return the holder's: what its input is written to, and what its output is read from."""
        return (self.input, self.source) if self.inner else (master, master)


def stay(create: Create, streams: Streams, say: int) -> int:
    """Be the holder of what has been started. Never returns."""
    program = _program(create.child)
    found = create.state
    place = create.base
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    feed, source = streams.outer(create.said.master)
    files = (feed, os.open(f"{place}/log", append, 0o600), os.open(f"{place}/log.times", append, 0o600), source)
    status = os.open(f"{found.directory}/{state.EXIT}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    about = process.stat(host(), os.getpid())
    ticks = about.start_ticks if about is not None else 0  # in a line of its own: systemd reads the first one alone
    state.write_text(f"{found.directory}/{state.HOLDER}", f"{os.getpid()}\n{ticks}\n".encode(), 0o644)
    os.setsid()
    os.chdir("/")
    for number in IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)
    os.write(say, b"!")
    holder.become(program, (*files, status), found.id)


def _program(pid: int) -> int:
    """Return the holder's program for a first process; raises an Error where there can be none."""
    found = holder.make(pid)
    if found < 0:
        raise RunError(
            "-d: the kernel lets no program be made in memory", "set vm.memfd_noexec to 0, or leave out -d"
        )
    return found


def pid(found: State) -> int:
    """Return a container's holder, 0 if it has none (any more)."""
    try:
        with open(f"{found.directory}/{state.HOLDER}", "rb") as file:
            number, ticks = map(int, file.read().split())
    except (OSError, ValueError):
        return 0
    return number if process.alive(host(), number, ticks) else 0


def lifeline(found: State) -> int:
    """Return a pidfd of its holder, -1 if it has none."""
    number = pid(found)
    try:
        return os.pidfd_open(number) if number else -1
    except ProcessLookupError:  # just ended
        return -1


def opened(found: State) -> int:
    """Return a descriptor of what the container's input is written to; raises an Error if it has no holder (now)."""
    pidfd = lifeline(found)
    if pidfd < 0:
        why = "it was started without -d, or its holder was killed"
        raise Error(f"container {found.id!r}: nothing holds its streams", why)
    try:
        return syscalls.pidfd_getfd(pidfd, holder.INPUT)
    finally:
        os.close(pidfd)

"""A detached container's holder: the process that has started it goes on as ``kernel.holder``.

    caller ── fork ──  holder-to-be: creates and starts the container, as its parent
    waits  ◄── done ─  becomes the program that copies its output, keeps its input open and takes its exit status
    returns            when the log is full, and at the end, it becomes ``pyproc cleanup --holder ID``: that begins a
                       new log and is the program again, or clears up

What it holds is found by its descriptors, and it by its pid in the container's directory.
"""

from __future__ import annotations

import fcntl
import os

from lxcfs_py import process
from lxcfs_py.errors import Error
from runtime import places, state
from runtime.config import logs
from runtime.errors import RunError
from runtime.kernel import holder, syscalls
from runtime.places import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    import socket as _socket
    from collections.abc import Callable
    from typing import NoReturn

    from runtime.lifecycle.create import Create
    from runtime.state import State
else:
    import _signal
    import _socket

IGNORED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGTSTP)
"""What ends with who started it must not end its containers."""
BY_SYSTEMD = "PYPROC_BY_SYSTEMD"
"""Set for what a unit calls, so that ``stop`` does not ask systemd to stop what it is stopping."""
KEPT = ("PATH", places.VARIABLE, "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""What its environment has of its starter's: by it programs, the daemon and systemd are found at the end."""
ENDINGS = ("", ".times")
"""Of a log and its notes."""
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def apart(act: Callable[[Callable[[], None]], int], said: str) -> int:
    """Do something in a child that lives on, handed what to call when all is well.

    Prints what is ``said`` here then and returns 0, else the exit code with which the child gave up, having told why.
    Should we be killed before, so is the child.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reader)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        said_by = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 16)  # out of the way of what the holder has
        os.close(writer)
        return act(lambda: _say(said_by)) if os.getppid() == parent else 1
    os.close(writer)
    stopping = (_signal.SIGINT, _signal.SIGTERM)  # the child, who gets them too or is killed with us, undoes it
    before = [_signal.signal(number, _signal.SIG_IGN) for number in stopping]
    heard = os.read(reader, 1)
    os.close(reader)
    for number, handler in zip(stopping, before, strict=True):  # the next container would inherit it
        _signal.signal(number, handler)
    if heard:
        os.write(1, said.encode())
        return 0
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _say(writer: int) -> None:
    os.write(writer, b"!")


def by_systemd() -> bool:
    """Say whether a unit calls: its main process is to be the holder from the beginning, so nobody waits apart."""
    return BY_SYSTEMD in os.environ and "NOTIFY_SOCKET" in os.environ


def ready() -> None:
    """Tell systemd that the container has begun (sd_notify(3)): what ends from then on was started."""
    address = os.environ["NOTIFY_SOCKET"]
    sender = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        sender.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        sender.send(b"READY=1")
    finally:
        sender.close()


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


def stay(create: Create, streams: Streams, say: Callable[[], None]) -> NoReturn:
    """Be the holder of what has been started, and ``say`` so. Never returns."""
    found = create.state
    program = _program(create.child, logs.rotation(found.annotations).bytes)
    after = _after(create.request.root, create.request.storage, found.id)
    feed, source = streams.outer(create.said.master)
    files = (feed, *_opened(f"{create.base}/log"), source)
    status = os.open(f"{found.directory}/{state.EXIT}", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    about = process.stat(host(), os.getpid())
    ticks = about.start_ticks if about is not None else 0
    state.write_text(f"{found.directory}/{state.HOLDER}", f"{os.getpid()}\n{ticks}\n".encode(), 0o644)
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.chdir("/")
    for number in IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 0)
    holder.place((*files, status), program)
    say()
    holder.again(found.id, after, _environment())


def _after(root: str, storage: str, id_: str) -> tuple[str, ...]:
    return (places.pyproc(), "cleanup", "--root", root, "--storage", storage, "--holder", id_)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT if name in os.environ}


def _opened(path: str) -> tuple[int, int]:
    """Return the log and its notes, opened to be written to; the notes are there when the log is."""
    times = os.open(f"{path}.times", APPEND, 0o600)
    return os.open(path, APPEND, 0o600), times


def over() -> int | None:
    """As the holder: return the exit code of the container that was held, None if it runs on.

    Raises OSError if we are no holder, whatever else our descriptors may be.
    """
    if holder.NAME not in os.readlink(f"/proc/self/fd/{holder.PROGRAM}"):
        raise FileNotFoundError(holder.NAME)
    return holder.exit_code(os.pread(holder.STATUS, 8, 0))


def turn(root: str, storage: str, id_: str) -> NoReturn:
    """As the holder: begin a new log, if that can be, and go on as before.

    Not while somebody has the container's lock, who may be removing it, nor if its name is another one's by now.
    """
    try:
        state.lock(root, id_, wait=False)  # until we are the holder again
        found = state.load(root, id_)
        if pid(found) != os.getpid():
            raise state.missing(id_)
        asked = logs.rotation(found.annotations)
        new = rotate(f"{found.storage}/log", asked.files)
        for number, file in zip((holder.LOG, holder.TIMES), new, strict=True):
            os.dup2(file, number)
        holder.lengthen(asked.bytes or holder.ENDLESS)
    except Exception:  # noqa: BLE001  (whatever it is: better a long log than none, and a container without holder)
        holder.lengthen(2 * os.fstat(holder.LOG).st_size)  # and not to be asked again by every piece
    holder.again(id_, _after(root, storage, id_), _environment())


def rotate(path: str, files: int) -> tuple[int, int]:
    """Let a log and its notes become the first of so many, the new one among them; return that and its notes.

    The log goes before its notes: as long as a log has its name, so have its notes (``log.Part``). The new one is
    made first: where none can be, all stays as it is.
    """
    new = f"{path}.new"
    found = _opened(new)
    names = [path, *(f"{path}.{number}" for number in range(1, files + 1))]
    for number in range(files, 0, -1):
        for ending in ENDINGS:
            try:
                os.rename(f"{names[number - 1]}{ending}", f"{names[number]}{ending}")
            except FileNotFoundError:
                continue
    for ending in reversed(ENDINGS):
        os.rename(f"{new}{ending}", f"{path}{ending}")
    for ending in ENDINGS:
        try:
            os.unlink(f"{names[-1]}{ending}")
        except FileNotFoundError:
            continue
    return found


def _program(pid: int, length: int) -> int:
    """Return the holder's program for a first process; raises an Error where there can be none."""
    found = holder.make(pid, length or holder.ENDLESS)
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

"""How a forked child tells its parent what became of it, a terminal, a pid, or an error; and how sockets are reached.

The child's socket closes by itself when the command is executed, which is the good news.
"""

from __future__ import annotations

import os
import time

from lxcfs_py.errors import Error, reason
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Callable
    from typing import Any, NoReturn
else:
    import _socket

MESSAGE_BYTES = 65536
STOP = "PYPROC_TEST_STOP"
"""``fail:N`` or ``kill:N``: what happens after step N of making a container, for tests of the undoing."""
GO, UNHEARD = b"go", b"unheard"
"""What ``runtime.lifecycle.start`` says to ``entry``: go on; and go on, but nobody answers what the filter would have
answered."""
NETWORK = b"network"
"""What the first process says with a descriptor of its network namespace."""


def send(report: _socket.socket, message: bytes, descriptor: int = -1) -> None:
    """Send a message, and a descriptor with it."""
    from _struct import pack

    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pack("i", descriptor))] if descriptor >= 0 else []
    report.sendmsg([message], rights)


def connect(path: str) -> _socket.socket:
    """Connect to a socket of any length of path; raises OSError naming it."""
    directory, name = os.path.split(os.path.abspath(path))
    at = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    found = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        found.connect(f"/proc/self/fd/{at}/{name}")  # a socket's address has 108 bytes, a path may have more
    except OSError as error:
        found.close()
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(at)
    return found


def handed(descriptor: int) -> _socket.socket:
    """Return a socket of its own of a descriptor that stays open."""
    return _socket.socket(fileno=os.dup(descriptor))


def guarded(report: _socket.socket, act: Any) -> NoReturn:
    """Do something in a forked child and leave; what goes wrong is reported to the parent."""
    code = 0
    try:
        act()
    except Error as error:
        code = error.exit_code
        send(report, f"error {code} {error}".encode("utf-8", "surrogateescape"))
    except BaseException as error:  # noqa: BLE001  (a child must never return into the parent's code)
        code = RunError.exit_code
        text = reason(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        send(report, f"error {code} {text}".encode("utf-8", "surrogateescape"))
    finally:
        os._exit(code)
    raise AssertionError


def stop_at(number: int, report: _socket.socket | None = None) -> None:
    """Fail or be killed after step ``number`` if a test says so, the parent by the child's ``report``."""
    how, _, at = os.environ.get(STOP, "").partition(":")
    if at != str(number):
        return
    if how == "fail":
        raise RunError(f"stopped after step {number}", f"{STOP} said so")
    if report is not None:
        send(report, b"kill")
        time.sleep(60)
    os.kill(os.getpid(), 9)


class Report:
    """What the children have said: the command's pid and terminal, or why there is none."""

    def __init__(self) -> None:
        self.pid = 0
        self.master = -1
        self.error: Error | None = None
        self.network = -1
        self.listener = -1
        """The descriptor by which calls of the child can be answered."""
        self.on_listener: Callable[[int, int], None] = lambda listener, _pid: os.close(listener)
        """Takes it, and the child's pid, as soon as both are known."""

    def read(self, report: _socket.socket, until: tuple[bytes, ...] = ()) -> bytes:
        """Read until one of the words is said and return it; b"" once all children have gone or executed."""
        while True:
            message, rights, _, _ = report.recvmsg(MESSAGE_BYTES, _socket.CMSG_SPACE(4))
            if not message:
                return b""
            word, _, rest = message.partition(b" ")
            if word == NETWORK:
                self.network = int.from_bytes(rights[0][2][:4], "little")
            if word in until:
                return word
            if word == b"terminal":
                self.master = int.from_bytes(rights[0][2][:4], "little")
            elif word == b"listener":
                self.listener = int.from_bytes(rights[0][2][:4], "little")
            elif word == b"pid":
                self.pid = int(rest)
            elif word == b"kill":  # from ``stop_at``
                os.kill(os.getpid(), 9)
            elif word == b"error":
                code, _, text = rest.partition(b" ")
                self.error = Error(text.decode("utf-8", "surrogateescape"), exit_code=int(code))
            if self.listener >= 0 and self.pid:
                self.on_listener(self.listener, self.pid)
                self.listener = -1

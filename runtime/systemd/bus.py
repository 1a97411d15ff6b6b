"""Speaks with systemd's manager over a socket that needs no message bus (org.freedesktop.systemd1(5)).

It is the system's for root, and a user's own for ordinary users. Over that socket a manager tells of every job's end
without being asked to.
"""

from __future__ import annotations

from lxcfs_py.errors import reason
from runtime import places
from runtime.errors import RunError
from runtime.report import connect
from runtime.systemd import message as messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from typing import Any, Self

    from runtime.systemd.message import Message

SOCKET = "/systemd/private"
"""Below the directory that is the system's for what runs, or the user's."""
MANAGER = {
    messages.DESTINATION: "org.freedesktop.systemd1",
    messages.PATH: "/org/freedesktop/systemd1",
    messages.INTERFACE: "org.freedesktop.systemd1.Manager",
}
NO_SUCH_UNIT, UNIT_EXISTS = "org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitExists"
SECONDS = 60.0
"""How long the manager may be silent; starting and stopping a scope takes it milliseconds."""


class UnreachableError(RunError):
    """Nobody serves at the socket."""


class RefusedError(RunError):
    """The manager's answer was an error; ``name`` is D-Bus's of it."""

    def __init__(self, name: str, text: str, what: str) -> None:
        super().__init__(f"systemd: {what}: {text}", "systemctl status tells how it is")
        self.name = name


def socket_path() -> str:
    """Return where the manager listens that makes cgroups for us."""
    directory = places.session() or f"/run/user/{places.USER}" if places.unprivileged() else "/run"
    return f"{directory}{SOCKET}"


class Bus:
    """One connection; raises an Error naming the socket where systemd can't be reached or falls silent."""

    def __init__(self, path: str = "") -> None:
        self.path = path = path or socket_path()
        self._serial = 0
        self._received = b""
        self._ended: dict[str, str] = {}
        """Jobs that have ended, by object path, and how."""
        try:
            self._socket: _socket.socket = connect(path)
        except OSError as error:
            hint = "is it PID 1 here, and has it one for you (loginctl enable-linger)?"
            raise UnreachableError(f"can't reach systemd: {reason(error)}", hint) from error
        self._socket.settimeout(SECONDS)
        self._send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")  # the kernel says who we are, in a user namespace too
        if (answer := self._line()) == b"DATA":
            answer = self._line()
        if not answer.startswith(b"OK "):
            text = f"{path}: systemd refuses us: {answer.decode('ascii', 'replace')}"
            raise RunError(text, "it serves root, or the user it is of")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise RunError(f"{self.path}: {error.strerror or error}", "try again: was systemd restarted?") from error

    def _more(self) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError as error:  # a timeout too
            raise RunError(f"{self.path}: systemd does not answer: {error}", "systemctl status tells more") from error
        if not data:
            raise RunError(f"{self.path}: systemd ended the connection", "try again: was it restarted?")
        self._received += data

    def peer(self) -> int:
        """Return the manager's pid, 0 if it is not of our pid namespace."""
        from _struct import unpack

        return int(unpack("3i", self._socket.getsockopt(1, 17, 12))[0])  # SOL_SOCKET, SO_PEERCRED

    def _line(self) -> bytes:
        while b"\r\n" not in self._received:
            self._more()
        found, _, self._received = self._received.partition(b"\r\n")
        return found

    def _message(self) -> Message:
        while len(self._received) < messages.FIXED_BYTES or len(self._received) < messages.length(self._received):
            self._more()
        end = messages.length(self._received)
        whole, self._received = self._received[:end], self._received[end:]
        found = messages.parse(whole)
        if found.kind == messages.SIGNAL and found.fields.get(messages.MEMBER) == "JobRemoved":
            _, job, _, result = found.values()
            self._ended[job] = result
        return found

    def call(self, member: str, signature: str, *values: Any) -> list[Any]:
        """Call one of the manager's methods and return its answer; raises ``RefusedError``."""
        self._serial += 1
        fields = {**MANAGER, messages.MEMBER: member}
        self._send(messages.call(self._serial, fields, signature, values))
        while True:
            found = self._message()
            if found.fields.get(messages.REPLY_SERIAL) != self._serial:
                continue
            if found.kind == messages.ERROR:
                text = str(next(iter(found.values()), ""))
                raise RefusedError(str(found.fields[messages.ERROR_NAME]), text, f"{member} {values[0]}")
            return found.values()

    def job(self, member: str, signature: str, *values: Any) -> None:
        """Call a method that starts a job for the unit ``values`` begin with, and wait for its end.

        Raises an Error unless it is done.
        """
        (job,) = self.call(member, signature, *values)
        while job not in self._ended:
            self._message()
        result = self._ended.pop(job)
        if result != "done":
            log = "journalctl --user" if places.unprivileged() else "journalctl"
            raise RunError(f"systemd: {member} {values[0]}: {result}", f"{log} -u {values[0]} tells why")

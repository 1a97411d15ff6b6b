"""Signals by name and number (signal(7)), and those that are passed on to a container."""

from __future__ import annotations

from lxcfs_py.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

NUMBERS = {
    name[3:]: int(value)
    for name, value in vars(_signal).items()
    if name.startswith("SIG") and not name.startswith("SIG_") and name[3:].isalnum() and isinstance(value, int)
}
"""Every signal's number by its name without SIG; SIGRTMIN and SIGRTMAX are the C library's."""

FORWARDED = tuple(NUMBERS[name] for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "CONT", "WINCH"))
"""What the caller's process passes on to the command; the rest stops or kills the caller's process itself."""


def number(text: str) -> int:
    """Return the number of ``KILL``, ``SIGKILL``, ``sigkill`` or ``9``; raises an Error naming the text."""
    word = text.upper().removeprefix("SIG")
    if word in NUMBERS:
        return NUMBERS[word]
    if text.isascii() and text.isdigit() and len(text) < 4 and 0 < int(text) <= NUMBERS["RTMAX"]:
        return int(text)
    raise Error(f"{text!r}: no such signal", "name one as TERM, SIGTERM or 15")


def send(pidfd: int, number: int) -> None:
    """Send a signal to a process that may just have ended."""
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return

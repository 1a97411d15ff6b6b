"""A small PID 1 for ``--init``: passes signals to the command and reaps what is left without a parent."""

from __future__ import annotations

import os

from runtime.kernel import signals, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import NoReturn
else:
    import _signal


def fork() -> None:
    """Return in a child, which is to become the command, and look after it.

    It is done last of all: whoever has CAP_SYS_PTRACE inside can take us over, and gains nothing by that if we have
    the command's user, capabilities and filter.
    """
    if child := os.fork():
        _attend(child)


def _attend(child: int) -> NoReturn:
    """Leave with its exit code, or 128 and the signal that ended it."""
    if os.geteuid():  # as execve would have it for the command
        syscalls.capset(0, 0, 0)
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    for number in signals.FORWARDED:
        _signal.signal(number, lambda number, _frame: _pass(child, number))
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # the command's streams are the command's to close
        os.dup2(devnull, stream)
    os.closerange(3, 1 << 16)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _pass(child: int, number: int) -> None:
    try:
        os.kill(child, number)
    except OSError:  # it has just ended, or has become another user's
        return

"""A small PID 1 for ``--init``: passes signals to the command and reaps what is left without a parent."""

from __future__ import annotations

import os

from runtime.kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import NoReturn
else:
    import _signal


def run(command: Callable[[], NoReturn]) -> NoReturn:
    """Fork the command and look after it; leave with its exit code, or 128 and the signal that ended it."""
    child = os.fork()
    if child == 0:
        command()
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
    except ProcessLookupError:
        return

"""Who attends to a command without a terminal: signals are handed on until it ends."""

from __future__ import annotations

import os
import signal
import threading

from runtime.process import attend
from tests.unit.runtime.test_terminal import start


def test_without_a_terminal_only_signals_are_served() -> None:
    """A command on the caller's own streams needs no relay: signals are handed on until it ends."""
    pid, exited, master = start("sleep", "60")
    got: list[int] = []

    def forward(number: int) -> None:
        got.append(number)
        os.kill(pid, signal.SIGTERM)

    with attend.Signals((signal.SIGUSR1,)) as signals:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        attend.wait(exited, signals, forward)
        timer.join()
    assert got == [signal.SIGUSR1]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    os.close(exited)
    os.close(master)


def test_signal_handlers_are_put_back() -> None:
    """Afterwards every signal does what it did before, and no descriptor is left."""
    before = signal.getsignal(signal.SIGUSR1)
    open_before = len(os.listdir("/proc/self/fd"))
    with attend.Signals((signal.SIGUSR1,)):
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) is before
    assert len(os.listdir("/proc/self/fd")) == open_before

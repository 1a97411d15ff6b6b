"""``pyproc kill``: send a signal to a container's first process, or to all of them."""

from __future__ import annotations

import os

from lxcfs_py.errors import Error, reason
from runtime import state
from runtime.command_line import Option
from runtime.kernel import signals
from runtime.lifecycle import finding
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from runtime.command_line import Parsed
    from runtime.state import State
else:
    import _signal

VERB = Verb(
    "kill",
    "Send a signal (TERM if none is named) to a container's first process.",
    "ID [SIGNAL]",
    1,
    2,
    (
        Option(("-s", "--signal"), "The signal, as Docker has it said", "SIGNAL"),
        Option(("-a", "--all"), "Send it to all its processes", kind="flag"),
    ),
)


def opened(root: str, found: State) -> int:
    """Return a pidfd of the container's first process; raises an Error unless it runs.

    The start time is compared after the descriptor is open: from then on the pid can't be another's.
    """
    hint = f"pyproc state {found.id} tells what it is; pyproc rm {found.id} removes it"
    not_running = Error(f"container not running: {found.id!r}", hint)  # the words engines know
    if not found.pid:
        raise not_running
    try:
        pidfd = os.pidfd_open(found.pid)
    except ProcessLookupError:
        raise not_running from None
    if state.status(root, found) not in (state.CREATED, state.RUNNING):
        os.close(pidfd)
        raise not_running
    return pidfd


def send(pidfd: int, signal: int, what: str) -> None:
    """Send a signal; raises an Error if the process has ended or may not be signalled."""
    try:
        _signal.pidfd_send_signal(pidfd, signal)
    except OSError as error:
        raise Error(f"{what}: {reason(error)}", "it has ended, or is not yours to signal") from error


def _send_all(found: State, signal: int) -> None:
    """Signal every process of the cgroup, and those that were forked meanwhile."""
    from runtime.lifecycle import members

    done: set[int] = set()
    while there := [pid for pid in members.pids(found) if pid not in done]:
        done.update(there)
        for pid in there:
            try:
                pidfd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:  # its pid may have been used again before it was opened: it must still be a member
                if pid in members.pids(found):
                    _signal.pidfd_send_signal(pidfd, signal)
            except ProcessLookupError:
                continue
            finally:
                os.close(pidfd)


def _thaw(found: State) -> None:
    """Let what was paused die: v1's freezer holds back SIGKILL too, cgroup2's does not."""
    from lxcfs_py.cgroup import control
    from runtime import places

    there = places.layout(found.cgroup)
    if control.frozen(there, found.cgroup):
        control.thaw(there, found.cgroup)


def run(parsed: Parsed) -> int:
    """Send it."""
    root = parsed["root"]
    signal = signals.number(parsed.rest[1] if len(parsed.rest) == 2 else parsed["signal"] or "TERM")
    found = finding.get(parsed, parsed.rest[0])
    if parsed["all"] and state.status(root, found) == state.STOPPED:  # in a shared pid namespace some may live on
        _send_all(found, signal)
        return 0
    pidfd = opened(root, found)
    try:
        if parsed["all"]:
            _send_all(found, signal)
        else:
            send(pidfd, signal, f"container {found.id!r}")
        if signal == signals.number("KILL"):
            _thaw(found)
    finally:
        os.close(pidfd)
    return 0

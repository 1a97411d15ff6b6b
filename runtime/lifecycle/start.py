"""Lets a created container's command begin: ``pyproc start``, and the other half of ``pyproc-run``."""

from __future__ import annotations

import os
import time

from lxcfs_py.errors import Error
from runtime import state
from runtime.lifecycle import oci
from runtime.report import GO, UNHEARD, Report, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as _socket
    from collections.abc import Mapping
    from typing import Any

    from runtime.process.seccomp import Filter
    from runtime.state import State
else:
    import _socket


def connect(id_: str, lock: int) -> _socket.socket:
    """Return who can start it: the created container waits for a word, and ends when it will hear none.

    ``lock`` is its directory, locked.
    """
    starter = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        starter.connect(f"/proc/self/fd/{lock}/{state.SOCKET}")
    except OSError as error:
        starter.close()
        raise Error(
            f"container {id_!r} does not wait to be started", f"pyproc state {id_} tells what it is"
        ) from error
    return starter


def begin(
    found: State,
    lock: int,
    filter_: Filter | None,
    hooks: Mapping[str, Any],
    starter: _socket.socket | None = None,
) -> State:
    """Start it and return its new state; raises the Error the command could not be executed with.

    ``lock`` is the container's directory, locked; ``starter`` is there if whoever made it starts it. That it runs is
    written down before it does: whoever is killed in between leaves a container that has ended, never one that runs
    and counts as created.
    """
    starter = starter or connect(found.id, lock)
    try:
        found = found.replace(phase=state.RUNNING, started_nsec=time.time_ns(), exit_code=None)
        state.save(found)
        os.unlink(state.SOCKET, dir_fd=lock)
        report = Report()
        heard = _answer(found, filter_, report)
        send(starter, GO if heard else UNHEARD)
        try:
            report.read(starter)
        except OSError:  # nobody takes its calls
            os.kill(found.pid, 9)
            raise
        if report.error is not None:
            raise report.error
    finally:
        starter.close()
    if hooks.get("poststart"):
        _poststart(found, hooks)
    return found


def _answer(found: State, filter_: Filter | None, report: Report) -> bool:
    """Have the listener handed to the agent if calls are to be answered; say whether there is one to answer."""
    agent = filter_.connect() if filter_ is not None and filter_.asks else None
    if agent is None or filter_ is None:
        return False
    asked, there = filter_, agent
    report.pid = found.pid
    report.on_listener = lambda listener, pid: asked.hand_over(there, listener, pid)
    return True


def _poststart(found: State, hooks: Mapping[str, Any]) -> None:
    """Run them; one that fails ends the container (runtime.md, "Lifecycle")."""
    from runtime.process import hooks as runner

    try:
        runner.stage("poststart", hooks, oci.state(found, state.RUNNING))
    except Error:
        os.kill(found.pid, 9)
        raise

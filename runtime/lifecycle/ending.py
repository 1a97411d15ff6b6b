"""Waits for a container's end, and brings it about."""

from __future__ import annotations

import os
import select
import time

from lxcfs_py import process
from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error
from runtime import places, state
from runtime.config.spec import STOP_SIGNAL, STOP_TIMEOUT
from runtime.kernel import signals
from runtime.lifecycle import cleanup, hold, outcome
from runtime.places import host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.lifecycle.outcome import Outcome
    from runtime.state import State

GRACE_SECONDS = 10.0
"""What Docker gives before it kills."""
MOST_SECONDS = 1e9
"""What poll(2) can wait."""
LAST_WORD_SECONDS = 10.0
"""How long its parent may take to say how it ended, on a busy machine."""


def opened(found: State) -> int:
    """Return a pidfd of a container's first process, -1 if it has ended."""
    if not found.pid:
        return -1
    try:
        pidfd = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return -1
    if not state.alive(found.pid, found.start_ticks):
        os.close(pidfd)
        return -1
    return pidfd


class Teller:
    """Who will tell how a container ended: its parent.

    ``pidfd`` is -1 if nobody will; ``file`` what a holder writes it into, which may be removed before it is read.
    """

    def __init__(self, found: State) -> None:
        self.pidfd = _parent(found)
        self.directory = _opened(found.directory)
        try:
            self.file = os.open(f"{found.directory}/{state.EXIT}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.file = -1

    @property
    def name(self) -> str:
        """What the container is called by now."""
        return os.path.basename(os.readlink(f"/proc/self/fd/{self.directory}")) if self.directory >= 0 else ""

    def gone(self, seconds: float) -> bool:
        """Say whether it will tell nothing (more), if need be after a while."""
        return self.pidfd < 0 or bool(select.select([self.pidfd], [], [], seconds)[0])

    def close(self) -> None:
        """Listen no more."""
        for descriptor in (self.pidfd, self.directory, self.file):
            if descriptor >= 0:
                os.close(descriptor)


def told(root: str, found: State, teller: Teller) -> Outcome:
    """Return how a container that has just ended did, once its parent has told it, or will no more."""
    deadline = time.monotonic() + LAST_WORD_SECONDS
    while True:
        gone = teller.gone(0.01)
        known = outcome.written(teller.file)
        if known.exit_code is not None:
            return known
        try:
            known = outcome.of(state.load(root, teller.name or found.id))
        except state.MissingError:  # --rm
            return outcome.Outcome()
        if known.exit_code is not None or gone or time.monotonic() > deadline:
            return known


def _opened(directory: str) -> int:
    try:
        return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _parent(found: State) -> int:
    """Return a pidfd of a container's parent; its holder may be about to tell when the container itself is gone."""
    about = process.stat(host(), found.pid)
    lives = about is not None and about.start_ticks == found.start_ticks
    if about is None or not lives:
        return hold.lifeline(found)
    try:
        return os.pidfd_open(about.ppid) if about.ppid > 1 else -1
    except ProcessLookupError:
        return -1


def follow(root: str, found: State) -> Outcome:
    """Wait for a container's end and return how it was; at once if that is known."""
    teller, pidfd = Teller(found), opened(found)
    try:
        if pidfd >= 0:
            select.select([pidfd], [], [])
        return told(root, found, teller)
    finally:
        teller.close()
        if pidfd >= 0:
            os.close(pidfd)


def code(found: State, known: Outcome) -> int:
    """Return the exit code of a container that has ended; one that nobody has written down is an Error."""
    if known.exit_code is None:
        parent = "its parent, an engine or a process that was killed, did not tell"
        why = "it was removed at its end (--rm), before that could be read" if found.remove else parent
        raise Error(f"container {found.id!r} has ended, its exit code is not known", why)
    return known.exit_code


def _grace(found: State) -> float:
    """Return the seconds that were said when it was made; a bundle may say anything."""
    text = found.annotations.get(STOP_TIMEOUT, f"{GRACE_SECONDS}")
    try:
        seconds = float(text)
    except ValueError:
        seconds = MOST_SECONDS
    if not -MOST_SECONDS < seconds < MOST_SECONDS:  # nor is it if it is no number
        hint = "give --timeout"
        raise Error(f"container {found.id!r}: annotation {STOP_TIMEOUT} {text!r} is not a number of seconds", hint)
    return seconds


def manner(found: State, signal: str | None, seconds: float | None) -> tuple[int, float | None]:
    """Return the signal that asks a container to end, and the seconds it has then (None: as long as it takes).

    Said now, or when it was made, or by its image; else TERM, and ten seconds.
    """
    about = found.annotations
    number = signals.number(signal or about.get(STOP_SIGNAL) or "TERM")
    grace = seconds if seconds is not None else _grace(found)
    return number, None if grace < 0 else grace


def stop(root: str, found: State, number: int, grace: float | None) -> None:
    """End a container: ask, wait, kill; then remove what only a running one needs. One that has ended is fine."""
    pidfd = opened(found)
    if pidfd >= 0:
        there = places.layout(found.cgroup)
        teller = Teller(found)
        try:
            signals.send(pidfd, number)
            if found.cgroup and control.frozen(there, found.cgroup):
                control.thaw(there, found.cgroup)
            if not select.select([pidfd], [], [], grace)[0]:
                signals.send(pidfd, 9)
            if not select.select([pidfd], [], [], cleanup.KILL_SECONDS if grace is not None else None)[0]:
                raise Error(f"container {found.id!r}: its processes don't die", "they hang in the kernel; try again")
            told(root, found, teller)
        finally:
            os.close(pidfd)
            teller.close()
    tidy(root, found.id)


def tidy(root: str, id_: str) -> None:
    """Remove what only a running container needs, or all with --rm, unless it is gone or has been started again."""
    try:
        held = state.lock(root, id_)
    except state.MissingError:
        return
    try:
        now = state.load(root, id_)
        if now.storage and state.status(root, now, locked=True) == state.STOPPED:
            cleanup.finish(now, places.layout(now.cgroup))
    finally:
        os.close(held)

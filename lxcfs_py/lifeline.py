"""What is known of processes as long as they live: a number or a name may be another's afterwards."""

from __future__ import annotations

import itertools
import os
import select
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
SWEPT = 2
"""How many of the oldest are looked at for each that is new, so that the dead do not gather."""


class Lifeline:
    """Tells in one short call whether a process has ended: its pidfd is readable then (pidfd_open(2))."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def ended(self) -> bool:
        """Say whether it has."""
        return bool(self._poll.poll(0))

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


class Living(Generic[T]):
    """Remembers at most ``limit`` things, each as long as a process lives; ``forget`` is told of those that go."""

    def __init__(self, limit: int, forget: Callable[[T], None] = lambda _thing: None) -> None:
        self._limit, self._forget = limit, forget
        self._found: dict[str, tuple[T, Lifeline]] = {}

    def get(self, name: str) -> T | None:
        """Return what is remembered under a name, None for nothing."""
        found = self._found.get(name)
        if found is None:
            return None
        if found[1].ended():
            self._forget(self._found.pop(name)[0])
            return None
        return found[0]

    def put(self, name: str, thing: T, lifeline: Lifeline) -> None:
        """Remember something new."""
        for old in list(itertools.islice(self._found, SWEPT)):
            about = self._found.pop(old)
            if about[1].ended() or len(self._found) >= self._limit - 1:
                self._forget(about[0])
            else:
                self._found[old] = about
        self._found[name] = thing, lifeline

    def __len__(self) -> int:
        return len(self._found)

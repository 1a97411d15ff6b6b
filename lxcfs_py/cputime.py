"""CPU time as /proc/stat tells it: what a cgroup has used, spread over the CPUs its container sees.

Between two readings dt apart, N visible CPUs can have been busy for N x dt at most; what was used beyond (a
quota lets a container use more CPUs than it sees for a few milliseconds) is served later. So no CPU is ever above
100 %, and nothing goes back when N changes: a hidden CPU keeps its time, as an offline one does in the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxcfs_py.cgroup.api import CpuTime

Times = tuple[int, int, int, int]
"""User without nice, nice, system and idle, in microseconds."""

SURPLUS_USEC = 1_000_000
"""How much may wait per CPU. More is no burst: N has fallen since, or the cgroup is older than its container; to
serve that for minutes would show an idle container as busy."""


class Account(NamedTuple):
    """What has been served of one container's CPU time."""

    last_nsec: int
    """CLOCK_BOOTTIME of the last reading; of the container's start before the first."""
    seen: tuple[int, int, int] = (0, 0, 0)
    """User, nice and system taken from the cgroup so far, in microseconds."""
    pending: tuple[int, int, int] = (0, 0, 0)
    """What of it is still to be served."""
    cpus: tuple[Times, ...] = ()
    """Per CPU that was ever visible."""

    @property
    def idle_usec(self) -> int:
        """What ``total`` says of idle."""
        return sum([cpu[3] for cpu in self.cpus])

    @property
    def total(self) -> Times:
        """The sum over all CPUs, hidden ones included."""
        user, nice, system, idle = (sum(column) for column in zip(*self.cpus, (0, 0, 0, 0), strict=False))
        return user, nice, system, idle


def split(time: CpuTime, seen: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return user, nice and system of the usage, none of them below what was seen before.

    The usage is exact; v1's user and system count ticks and give the proportion only, as the kernel does it for
    processes (kernel/sched/cputime.c, cputime_adjust).
    """
    usage = max(time.usage_usec, sum(seen))
    ticks = time.user_usec + time.system_usec
    system = usage * time.system_usec // ticks if ticks else 0
    system = max(seen[2], min(system, usage - seen[0] - seen[1]))
    user = usage - system
    nice = min(max(seen[1], min(time.nice_usec, user)), user - seen[0])
    return user - nice, nice, system


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Divide an amount in proportion, exactly; no part exceeds its weight if the amount does not exceed their sum."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts, upto, mark = [], 0, 0
    for weight in weights:
        upto += weight
        before, mark = mark, amount * upto // whole
        parts.append(mark - before)
    return parts


def advance(account: Account, now_nsec: int, time: CpuTime, n: int) -> Account:
    """Return the account at ``now_nsec`` with ``n`` visible CPUs."""
    seen, before, pending = split(time, account.seen), account.seen, account.pending
    user = pending[0] + seen[0] - before[0]
    nice = pending[1] + seen[1] - before[1]
    system = pending[2] + seen[2] - before[2]
    dt_usec = max(0, now_nsec - account.last_nsec) // 1000
    if (used := user + nice + system) > n * dt_usec:
        waiting, used = (user, nice, system), n * dt_usec
        user, nice, system = spread(used, waiting)
        later = [part - now for part, now in zip(waiting, (user, nice, system), strict=True)]
        pending = _three(spread(min(sum(later), n * SURPLUS_USEC), later))
    else:
        pending = 0, 0, 0
    # As ``spread`` divides: what is used among the CPUs, of each one's user and nice together (what is left is
    # system's, never < 0), of that nice.
    low = user + nice
    cpus = [*account.cpus, *((0, 0, 0, 0),) * (n - len(account.cpus))]
    busy_upto = low_upto = nice_upto = 0
    for at in range(n):
        busy, busy_upto = busy_upto, used * (at + 1) // n
        of_low, low_upto = low_upto, low * busy_upto // used if used else 0
        of_nice, nice_upto = nice_upto, nice * low_upto // low if nice else 0
        busy, of_low, of_nice = busy_upto - busy, low_upto - of_low, nice_upto - of_nice
        (u, ni, s, i) = cpus[at]
        cpus[at] = u + of_low - of_nice, ni + of_nice, s + busy - of_low, i + dt_usec - busy
    return Account(account.last_nsec + dt_usec * 1000, seen, pending, tuple(cpus))


def _three(parts: list[int]) -> tuple[int, int, int]:
    return parts[0], parts[1], parts[2]


class CpuStore(Protocol):
    """Keeps the accounts."""

    def advance(self, key: str, start_nsec: int, now_nsec: int, time: CpuTime, n: int) -> Account:
        """Advance a container's account, a fresh one from its start, and return it."""


class LocalStore:
    """Accounts of this process alone."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def advance(self, key: str, start_nsec: int, now_nsec: int, time: CpuTime, n: int) -> Account:
        """See ``CpuStore``."""
        found = advance(self._accounts.get(key) or Account(start_nsec), now_nsec, time, n)
        self._accounts[key] = found
        return found

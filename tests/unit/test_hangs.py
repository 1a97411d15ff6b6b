"""When a worker must be replaced."""

from __future__ import annotations

import pytest

from lxcfs_py.counters import OPCODES
from lxcfs_py.daemon.hangs import ASLEEP_NSEC, LONGEST_NSEC, Look, verdict

READ, WRITE = OPCODES["read"], OPCODES["write"]
SINCE, LATER = 1000, 5000


@pytest.mark.parametrize(
    ("states", "busy", "opcode", "age_nsec", "why"),
    [
        ("SS", (0, 0), 0, 1 << 60, ""),  # it waits for a request
        ("RR", (0, 0), 0, 1 << 60, ""),
        ("TT", (0, 0), 0, 1, "is stopped"),
        ("tT", (SINCE, SINCE), READ, 1, "is stopped"),
        ("ST", (0, 0), 0, 1, ""),
        ("TS", (0, 0), 0, 1, ""),
        ("DD", (0, 0), 0, 1, "is frozen"),
        ("SD", (0, 0), 0, 1, ""),
        ("SS", (SINCE, SINCE), READ, ASLEEP_NSEC - 1, ""),
        ("SS", (SINCE, SINCE), READ, ASLEEP_NSEC + 1, "hangs"),
        ("DS", (SINCE, SINCE), READ, ASLEEP_NSEC + 1, "hangs"),
        ("SS", (SINCE, LATER), READ, ASLEEP_NSEC + 1, ""),  # another request
        ("SS", (SINCE, LATER), READ, LONGEST_NSEC + 1, ""),
        ("RR", (SINCE, SINCE), READ, ASLEEP_NSEC + 1, ""),  # the machine is busy
        ("RS", (SINCE, SINCE), READ, ASLEEP_NSEC + 1, ""),
        ("RR", (SINCE, SINCE), READ, LONGEST_NSEC + 1, "hangs"),
        ("SS", (SINCE, SINCE), WRITE, ASLEEP_NSEC + 1, ""),  # the supervisor is being restarted
        ("SS", (SINCE, SINCE), WRITE, LONGEST_NSEC + 1, "hangs"),
    ],
)
def test_verdict(states: str, busy: tuple[int, int], opcode: int, age_nsec: int, why: str) -> None:
    """What two looks say of a worker."""
    before, now = (Look(1, state, 2, since, opcode) for state, since in zip(states, busy, strict=True))
    found = verdict(before, now, now.busy_since_nsec + age_nsec)
    assert found.startswith(why)
    assert bool(found) == bool(why)
    assert verdict(None, now, now.busy_since_nsec + age_nsec) == ""

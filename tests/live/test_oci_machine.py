"""Random sequences of verbs on a few ids agree with the specification's state machine (runtime.md, "Lifecycle"), and
with what runc and crun make of them. ``tests/fuzz/sequences 1000`` tries a thousand.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.live import busybox
from tests.live.busybox import Bundle, Runtime, left, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anywhere  # states

IDS = ("a", "b")
UNIFIED = "/sys/fs/cgroup/unified"
HIDDEN = ("unshare", "-m", "sh", "-c", f'umount {UNIFIED} && exec "$@"', "sh")
NONE, CREATED, RUNNING, PAUSED, STOPPED = "", "created", "running", "paused", "stopped"
TABLE: dict[tuple[str, ...], dict[str, str]] = {
    ("create",): {NONE: CREATED},
    ("start",): {CREATED: RUNNING},
    ("kill", "KILL"): {CREATED: STOPPED, RUNNING: STOPPED, PAUSED: STOPPED},
    ("kill", "CONT"): {CREATED: CREATED, RUNNING: RUNNING, PAUSED: PAUSED},
    ("pause",): {CREATED: PAUSED, RUNNING: PAUSED},
    ("resume",): {PAUSED: RUNNING},
    ("exec", "true"): {CREATED: CREATED, RUNNING: RUNNING},
    ("delete",): {STOPPED: NONE},
    ("delete", "--force"): dict.fromkeys((NONE, CREATED, RUNNING, PAUSED, STOPPED), NONE),
    ("state",): {status: status for status in (CREATED, RUNNING, PAUSED, STOPPED)},
    ("update", "--pids-limit", "50"): {status: status for status in (CREATED, RUNNING, PAUSED)},
    ("ps", "--format", "json"): {status: status for status in (CREATED, RUNNING, PAUSED, STOPPED)},
}
"""What each verb makes of each status; from any other it is refused, and changes nothing."""
VERBS = st.sampled_from(sorted(TABLE))
DELETE, KILL, PAUSE, RESUME, PS = ("delete",), ("kill", "KILL"), ("pause",), ("resume",), ("ps", "--format", "json")
UPDATE = ("update", "--pids-limit", "50")
OTHERWISE: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "": (),
    # The specification has delete refuse what is not stopped; both kill what is created.
    "runc": ((DELETE, CREATED),),
    # Besides, crun calls what is paused before its start created, pauses and resumes without looking, limits what has
    # ended, dies of a signal asked for the processes of that, and leaves what is killed while paused as it is.
    "crun": (
        (DELETE, CREATED), (PAUSE, CREATED), (PAUSE, PAUSED), (RESUME, CREATED), (RESUME, RUNNING), (UPDATE, STOPPED),
        (PS, STOPPED), (KILL, PAUSED),
    ),
}  # fmt: skip
"""What each of them does otherwise, by verb and status: not asked for."""


def arguments(verb: tuple[str, ...], id_: str, place: str) -> list[str]:
    """Return a verb's command line."""
    if verb == ("create",):
        return ["create", "--bundle", place, id_]
    if verb[0] in ("kill", "exec"):
        return [verb[0], id_, *verb[1:]]
    return [*verb, id_]


class Machine(RuleBasedStateMachine):
    """Containers, and what the model says of them."""

    scale = 1.0
    made: dict[str, dict[str, Bundle]] = {}  # noqa: RUF012  (made once for all examples)
    """By runtime and id: two with one cgroup would be one."""
    base = Path()
    other = ""
    """The runtime that is asked the same, "" for none."""

    @initialize()
    def begin(self) -> None:
        """Begin with none."""
        names = ("pyproc", *([self.other] if self.other else []))
        self.runtimes = [Runtime(each, self.base, self.scale) for each in names]
        if self.other == "crun" and os.path.isdir(UNIFIED):  # it refuses a hybrid host
            self.runtimes[1].command = [*HIDDEN, *self.runtimes[1].command]
        self.model = dict.fromkeys(IDS, NONE)
        self.before_pause: dict[str, str] = {}

    @rule(verb=VERBS, id_=st.sampled_from(IDS))
    def call(self, verb: tuple[str, ...], id_: str) -> None:
        """Call a verb: it does what the table says, or is refused, and so it is with the other."""
        now = self.model[id_]
        if (verb, now) in OTHERWISE[self.other]:
            return
        following = TABLE[verb].get(now)
        for runtime in self.runtimes:
            code = runtime.quietly(*arguments(verb, id_, str(self.made[runtime.name][id_].path)))
            assert (code == 0) == (following is not None), (runtime.name, verb, now, code)
        if verb == PAUSE and following:
            self.before_pause[id_] = now
        if verb == RESUME and following:
            following = self.before_pause[id_]
        if following is not None:
            self.model[id_] = following
            if verb[0] == "kill":
                for runtime in self.runtimes:
                    until(runtime, id_, following)

    @invariant()
    def agrees(self) -> None:
        """Every container is what the model says, and no other is there."""
        if not hasattr(self, "model"):
            return
        there = {id_: status for id_, status in self.model.items() if status}
        for runtime in self.runtimes:
            told = json.loads(runtime("list", "--format", "json").stdout) or []  # Go's null
            assert {each["id"]: each["status"] for each in told} == there, runtime.name

    def teardown(self) -> None:
        """Remove all: nothing is left."""
        if not hasattr(self, "runtimes"):
            return
        for runtime in self.runtimes:
            for id_ in IDS:
                assert runtime.quietly("delete", "--force", id_) == 0
        assert left() == []


def sequences(base: Path, scale: float, other: str, count: int) -> None:
    """Try so many sequences, beside another runtime unless it is ""."""
    Machine.scale, Machine.base, Machine.other = scale, base, other
    for name in ("pyproc", *([other] if other else [])):
        Machine.made[name] = {id_: Bundle(base / f"{name}-{id_}", "sleep", "1000") for id_ in IDS}
        for id_, bundle in Machine.made[name].items():
            bundle.linux["cgroupsPath"] = f"{busybox.PARENT}/{name.removeprefix('py')}-{id_}"
            bundle.write()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=count,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


@pytest.fixture
def base() -> Iterator[Path]:
    """Yield a directory that the sequences share."""
    found = Path(tempfile.mkdtemp())
    yield found
    shutil.rmtree(found)


def test_any_sequence(base: Path, time_scale: float, lane: str, parents: None) -> None:
    """Whatever is asked in whatever order, the containers are in the states of the specification."""
    sequences(base, time_scale, "", 4 if lane == "here" else 2)


@pytest.mark.parametrize("other", ["runc", "crun"])
@pytest.mark.needs_native
def test_as_others_do(base: Path, time_scale: float, parents: None, other: str) -> None:
    """Whatever is asked in whatever order, runc and crun do the same, but for what is known of them."""
    sequences(base, time_scale, other, 2)

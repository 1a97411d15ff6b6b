"""Random sequences of verbs on a few ids agree with the specification's state machine (runtime.md, "Lifecycle")."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.live.busybox import PARENT, Bundle, Runtime, left, until

pytestmark = pytest.mark.anywhere  # states

IDS = st.sampled_from(["a", "b"])
NONE, CREATED, RUNNING, PAUSED, STOPPED = "", "created", "running", "paused", "stopped"
TABLE: dict[tuple[str, ...], dict[str, str]] = {
    ("create",): {NONE: CREATED},
    ("start",): {CREATED: RUNNING},
    ("kill", "KILL"): {CREATED: STOPPED, RUNNING: STOPPED},
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
    made: dict[str, Bundle] = {}  # noqa: RUF012  (made once for all examples)
    base = Path()

    @initialize()
    def begin(self) -> None:
        """Begin with none."""
        self.runtime = Runtime("pyproc", self.base, self.scale, LXCFS_PY_RUNTIME_DIR=str(self.base / "run"))
        self.model = dict.fromkeys(self.made, NONE)
        self.before_pause: dict[str, str] = {}

    @rule(verb=VERBS, id_=IDS)
    def call(self, verb: tuple[str, ...], id_: str) -> None:
        """Call a verb: it does what the table says, or is refused."""
        now = self.model[id_]
        if verb == ("kill", "KILL") and now == PAUSED:  # v1's freezer holds it back, cgroup2's does not
            return
        following = TABLE[verb].get(now)
        code = self.runtime.quietly(*arguments(verb, id_, str(self.made[id_].path)))
        assert (code == 0) == (following is not None), (verb, now, code)
        if verb == ("pause",) and following:
            self.before_pause[id_] = now
        if verb == ("resume",) and following:
            following = self.before_pause[id_]
        if following is not None:
            self.model[id_] = following
            if verb[0] == "kill":
                until(self.runtime, id_, following)

    @invariant()
    def agrees(self) -> None:
        """Every container is what the model says, and no other is there."""
        if hasattr(self, "model"):
            told = json.loads(self.runtime("list", "--format", "json").stdout)
            there = {id_: status for id_, status in self.model.items() if status}
            assert {each["id"]: each["status"] for each in told} == there

    def teardown(self) -> None:
        """Remove all: nothing is left."""
        for id_ in self.made:
            assert self.runtime.quietly("delete", "--force", id_) == 0
        assert left() == []


def test_any_sequence(time_scale: float, lane: str, parents: Any, request: pytest.FixtureRequest) -> None:
    """Whatever is asked in whatever order, the containers are in the states of the specification."""
    base = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(base))
    Machine.scale, Machine.base = time_scale, base
    for id_ in ("a", "b"):
        Machine.made[id_] = Bundle(base / id_, "sleep", "1000")
        Machine.made[id_].linux["cgroupsPath"] = f"{PARENT}/machine-{id_}"
        Machine.made[id_].write()
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=8 if lane == "here" else 2,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )

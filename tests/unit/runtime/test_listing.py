"""What a list says of containers, and which of them are asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.lifecycle import graph, listing
from runtime.lifecycle.happening import Seen, changes

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"), (1.2, "1 second"), (59, "59 seconds"), (61, "About a minute"),
        (125, "2 minutes"), (3601, "About an hour"), (7300, "2 hours"), (47 * 3600, "47 hours"),
        (49 * 3600, "2 days"),
        (15 * 86400, "2 weeks"), (90 * 86400, "3 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_span(seconds: float, words: str) -> None:
    """Times are told in Docker's words."""
    assert listing.span(seconds) == words


def container(**changed: Any) -> dict[str, Any]:
    """Return a description."""
    return {
        "id": "web", "status": "running", "image": "alpine:3.20", "_image": "beef" * 16,
        "annotations": {"tier": "front"},
        "_nsec": (NOW - 9 * SECOND, NOW - 5 * SECOND, 0), "_state": None, "pid": 7, "created": "x",
        "command": ["sh", "-c", "sleep 1000000000"], **changed,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "Up 5 seconds"),
        ({"status": "paused"}, "Up 5 seconds (Paused)"),
        ({"status": "created"}, "Created"),
        ({"status": "broken", "_nsec": (0, 0, 0)}, "Broken"),
        ({"status": "stopped", "exitCode": 3, "_nsec": (0, 0, NOW - 120 * SECOND)}, "Exited (3) 2 minutes ago"),
        ({"status": "stopped"}, "Exited (?)"),
    ],
)
def test_sentence(changed: dict[str, Any], words: str) -> None:
    """A status is a sentence; an exit code nobody knows is not made up."""
    assert listing.sentence(container(**changed), NOW) == words


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ((), True),
        (("id=we",), True),
        (("id=eb",), False),
        (("name=eb",), True),
        (("status=running",), True),
        (("status=exited",), False),
        (("status=exited", "status=running"), True),
        (("status=running", "name=db"), False),
        (("ancestor=alpine",), True),
        (("ancestor=alpine:3.20",), True),
        (("ancestor=docker.io/library/alpine",), True),
        (("ancestor=beefbeefbeef",), True),
        (("ancestor=sha256:beefbeefbeef",), True),
        (("ancestor=bee",), False),
        (("ancestor=alpine:3.19",), False),
        (("ancestor=quay.io/library/alpine",), False),
        (("ancestor=alp",), False),
        (("ancestor=No Name",), False),
        (("label=tier",), True),
        (("label=tier=front",), True),
        (("label=tier=back",), False),
        (("exited=0",), False),
        (("label=tier=front", "label=zone"), False),
        (("label=tier", "label=tier=front"), True),
        (("network=host",), True),
        (("network=web",), False),
        (("volume=data",), False),
        (("name=web", "name=db"), True),
    ],
)
def test_filters(asked: tuple[str, ...], fits: bool) -> None:
    """Values of one key are alternatives, but all labels must fit; keys add up."""
    assert listing.CONTAINERS.fits(container(), listing.CONTAINERS.asked(asked)) == fits


@pytest.mark.parametrize("asked", ["alpine", "alpine:3.20", "docker.io/library/alpine", "library/alpine:3.20"])
def test_an_image_by_what_people_call_it(asked: str) -> None:
    """What a container's image is called is complete, and what is asked for need not be."""
    assert listing.is_image("docker.io/library/alpine:3.20", asked)
    assert not listing.is_image("quay.io/library/alpine:3.20", asked)
    assert not listing.is_image("", asked)


def test_exited_by_code() -> None:
    """Zero is a code like any other."""
    asked = listing.CONTAINERS.asked(["exited=0"])
    assert listing.CONTAINERS.fits(container(status="stopped", exitCode=0), asked)


@pytest.mark.parametrize("text", ["size=1", "name", "status=dead"])
def test_unknown_filters(text: str) -> None:
    """A filter that is none is refused by name."""
    with pytest.raises(Error, match="--filter"):
        listing.CONTAINERS.asked([text])


RUNNING, ENDED = Seen("running", 5), Seen("stopped", 5, 3)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, Seen("created"), "create"),
        (None, RUNNING, "create start"),
        (None, ENDED, "create start die"),
        (Seen("created"), RUNNING, "start"),
        (RUNNING, ENDED, "die"),
        (RUNNING, Seen("paused", 5), "pause"),
        (Seen("paused", 5), RUNNING, "unpause"),
        (Seen("paused", 5), ENDED, "die"),
        (RUNNING, RUNNING.replace(oom_kills=2), "oom"),
        (RUNNING, Seen("running", 7), "die start"),
        (ENDED, Seen("running", 7), "start"),
        (ENDED, Seen("stopped", 7, 0), "start die"),
        (RUNNING, None, "die destroy"),
        (ENDED, None, "destroy"),
        (RUNNING, RUNNING, ""),
        (ENDED, ENDED, ""),
    ],
)
def test_changes(before: Seen | None, after: Seen | None, words: str) -> None:
    """Two looks differ by what has happened, in order."""
    one, other = ({} if seen is None else {"web": seen} for seen in (before, after))
    found = changes(one, other, NOW)
    assert " ".join(event.event for event in found) == words
    assert [event.attributes.get("exitCode") for event in found if event.event == "die"] in ([], [3], [0], [None])


def test_another_name() -> None:
    """A container that is called otherwise is the same one, whatever else has happened to it."""
    was, now = Seen("running", 5, created_nsec=3), Seen("stopped", 5, 0, created_nsec=3)
    found = changes({"web": was, "db": RUNNING.replace(created_nsec=4)}, {"www": now}, NOW)
    assert [(event.event, event.container) for event in found] == [
        ("rename", "www"), ("die", "www"), ("die", "db"), ("destroy", "db"),
    ]  # fmt: skip
    assert found[0].attributes == {"oldName": "web"}


def test_an_event_as_text() -> None:
    """A line has time, kind, event, container and what else is known."""
    (event,) = changes({"web": RUNNING}, {"web": ENDED.replace(image="alpine")}, NOW)
    assert str(event) == "2023-11-14T22:13:20.000000000Z container die web (image=alpine, exitCode=3)"
    assert event.as_json()["attributes"] == {"image": "alpine", "exitCode": 3}


def test_a_plot() -> None:
    """The newest value is at the right, the limit at the upper edge."""
    assert graph.plot([0, 25, 50, 100], 100, graph.AXIS + 4, 2, "100%") == ["   100% ┤   █", "      0 ┤ ▄██"]


@given(st.lists(st.floats(0, 1e18), max_size=40), st.floats(0, 1e12), st.integers(1, 60), st.integers(1, 8))
def test_any_plot_has_its_size(values: list[float], limit: float, width: int, height: int) -> None:
    """Whatever the values, a plot is as wide and high as it was to be, and a use never looks like none."""
    lines = graph.plot(values, limit, width + graph.AXIS, height, "top")
    assert [len(line) for line in lines] == [width + graph.AXIS] * height
    for value, bar in zip(values[-width:], lines[-1][-len(values[-width:]) :] if values else "", strict=False):
        assert (bar != " ") == (value > 0)

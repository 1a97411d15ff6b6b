"""The log's limit: one line per container, file and cause a minute."""

from __future__ import annotations

import pytest

from lxcfs_py import log

LINE = "web@7 proc/meminfo: OSError: [Errno 5] Input/output error"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """Return a clock."""
    return Clock()


def test_one_line_a_minute(clock: Clock) -> None:
    """The same line is written once a minute, whichever process asked, and says how often it was left out."""
    limiter = log.Limiter(clock)
    assert limiter.line(LINE, 41) == f"{LINE} (pid 41)"
    for pid in range(500):
        clock.seconds += 0.1
        assert limiter.line(LINE, pid) == ""
    clock.seconds += 10.1
    assert limiter.line(LINE, 43) == f"{LINE} (pid 43) (500 times more since the last such line)"
    clock.seconds += 60
    assert limiter.line(LINE) == LINE


def test_containers_files_and_causes_are_counted_apart(clock: Clock) -> None:
    """Another container, file or cause has a line of its own."""
    limiter = log.Limiter(clock)
    for text in (LINE, LINE.replace("web", "db"), LINE.replace("meminfo", "stat"), LINE.replace("5", "13")):
        assert limiter.line(text) == text
        assert limiter.line(text) == ""


def test_memory_is_bounded(clock: Clock) -> None:
    """Of ever new lines only so many are remembered, the latest."""
    limiter = log.Limiter(clock)
    for number in range(log.MOST + 1):
        assert limiter.line(str(number))
    assert limiter.line("0") == "0"
    assert limiter.line(str(log.MOST)) == ""


@pytest.mark.parametrize("text", [LINE, "", "x" * 5000, "\udcff\x1b ü"])
def test_what_workers_send_arrives(text: str) -> None:
    """Any text and pid survive the way to the supervisor, cut to what a datagram takes."""
    found, pid = log.unpack(log.pack(text, 7)[:4096])
    assert pid == 7
    assert found == text[:2000].encode("utf-8", "replace").decode()


def test_causes_are_one_line() -> None:
    """What an exception says never breaks the line."""
    assert "\n" not in log.cause(ValueError("a\nb"))

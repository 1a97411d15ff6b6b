"""The log's limit: one line per container, file and cause a minute."""

from __future__ import annotations

import json
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import log
from lxcfs_py.log import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = Line("OSError: [Errno 5] Input/output error", "web@7", "proc/meminfo")


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


@pytest.fixture
def plain() -> Iterator[None]:
    """Leave the log as it was."""
    yield
    log.configure(as_json=False, verbose=False)


def test_one_line_a_minute(clock: Clock) -> None:
    """The same line is written once a minute, whichever process asked, and says how often it was left out."""
    limiter, before = log.Limiter(clock), log.counts()[1]
    assert limiter.line(LINE.replace(pid=41)) == LINE.replace(pid=41)
    for pid in range(500):
        clock.seconds += 0.1
        assert limiter.line(LINE.replace(pid=pid)) is None
    clock.seconds += 10.1
    assert limiter.line(LINE.replace(pid=43)) == LINE.replace(pid=43, left_out=500)
    clock.seconds += 60
    assert limiter.line(LINE) == LINE
    assert log.counts()[1] - before == 500


def test_containers_files_and_causes_are_counted_apart(clock: Clock) -> None:
    """Another container, file or cause has a line of its own."""
    limiter = log.Limiter(clock)
    others = LINE.replace(container="db@8"), LINE.replace(subject="proc/stat"), LINE.replace(text="OSError: 13")
    for line in (LINE, *others):
        assert limiter.line(line) == line
        assert limiter.line(line) is None


def test_what_is_written_is_limited(plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever writes by a limiter writes the same once, whichever process it is about."""
    limiter = log.Limiter()
    for pid in range(1000):
        limiter.write(log.Line("hangs", subject="worker 1", pid=pid))
        limiter.write("the store is full")
    assert capsys.readouterr().err.splitlines() == [
        "lxcfs-py: - worker 1: hangs",
        "lxcfs-py: the store is full",
    ]


def test_memory_is_bounded(clock: Clock) -> None:
    """Of ever new lines only so many are remembered, the latest."""
    limiter = log.Limiter(clock)
    for number in range(log.MOST + 1):
        assert limiter.line(Line(str(number)))
    assert limiter.line(Line("0"))
    assert limiter.line(Line(str(log.MOST))) is None


@pytest.mark.parametrize("text", [str(LINE), "", "x" * 5000, "\udcff\x1b ü", "\0"])
@pytest.mark.parametrize("detail", [False, True])
def test_what_workers_send_arrives(text: str, detail: bool) -> None:
    """Any text, and whose it is, survive the way to the supervisor, cut to what a datagram takes."""
    found = log.unpack(log.pack(Line(text, "web@7", "proc/stat", 7, detail)))
    assert found == Line(text[:2000].encode("utf-8", "replace").decode(), "web@7", "proc/stat", 7, detail)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (LINE.replace(pid=4), "web@7 proc/meminfo: OSError: [Errno 5] Input/output error (pid 4)"),
        (Line("x", "", "worker 1"), "- worker 1: x"),
        (Line("x", left_out=2), "x (2 times more since the last such line)"),
    ],
)
def test_text_and_json_say_the_same(line: Line, text: str, plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    """A line is one line of text, or one JSON object with its time and the fields that say something."""
    log.write(line)
    log.configure(as_json=True, verbose=False)
    log.write(line)
    as_text, as_json = capsys.readouterr().err.splitlines()
    assert as_text == f"lxcfs-py: {text}"
    found = json.loads(as_json)
    assert abs((datetime.fromisoformat(found.pop("time")) - datetime.now(UTC)).total_seconds()) < 60
    fields: dict[str, object] = {name: getattr(line, name) for name in ("container", "subject", "pid", "left_out")}
    fields["message"] = line.text
    assert found == {name: value for name, value in fields.items() if value}


def test_details_are_for_the_verbose(plain: None, capsys: pytest.CaptureFixture[str]) -> None:
    """A detail is written, and counted, only if details are wanted."""
    before = log.counts()[0]
    log.write(Line("x", detail=True))
    log.configure(as_json=False, verbose=True)
    log.write(Line("y", detail=True))
    assert capsys.readouterr().err == "lxcfs-py: y\n"
    assert log.counts()[0] - before == 1


def test_causes_are_one_line() -> None:
    """What an exception says never breaks the line."""
    assert "\n" not in log.cause(ValueError("a\nb"))


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limiter is for whoever has a line, in any thread, also when it has as many lines as it keeps."""
    monkeypatch.setattr(log, "MOST", 2)
    limiter, wrong = log.Limiter(), list[BaseException]()

    def say(number: int) -> None:
        try:
            for count in range(3000):
                limiter.line(log.Line(f"{number} {count}"))
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=say, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []

"""Looking at containers: lists, JSON everywhere, logs of a time, events that are past, figures that go on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.live.box import BIN, Box
from tests.live.test_living import about, logged, popen, until, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anywhere
NAMES = ("one", "two")
CLEAR = "\x1b[H\x1b[J"


@pytest.fixture
def names(clean: Box) -> Iterator[tuple[str, str]]:
    """Yield two names, and remove what bears them."""
    yield NAMES
    for name in NAMES:
        clean.pyproc("rm", "--force", name)


def lines(box: Box, verb: str, *arguments: str) -> list[Any]:
    """Return what a verb prints: a JSON text a line."""
    return [json.loads(line) for line in box.pyproc(verb, *arguments, "--json").stdout.splitlines()]


def test_a_life_in_json(clean: Box, names: tuple[str, str]) -> None:
    """Every step of it, and every look at it, is told as JSON."""
    one, two = names
    started = clean.run("-d", "--json", "--name", one, "--", "sh", "-c", "echo hello; exec sleep 1000").stdout
    assert json.loads(started) == {"id": one}
    steps = json.loads(clean.run("--dry-run", "--json", "--", "true").stdout)
    assert len(steps) > 10 and all(isinstance(step, str) for step in steps)
    refused = clean.run("--json", "--", "true", check=False)
    assert (refused.returncode, "give it with -d" in refused.stderr) == (125, True)
    until(clean, lambda: logged(clean, one))
    (line,) = lines(clean, "logs", one)
    assert line["log"] == "hello\n" and line["time"].endswith("Z")
    assert lines(clean, "stop", "-t", "0", one) == [{"id": one}]
    assert lines(clean, "start", one) == [{"id": one}]
    assert lines(clean, "restart", "-t", "0", one) == [{"id": one}]
    ((unit, text),) = lines(clean, "generate systemd", one)[0].items()
    assert unit.startswith(f"pyproc-{one}") and "[Service]" in text
    clean.run("-d", "--name", two, "--", "sh", "-c", "exit 3")
    assert lines(clean, "wait", two) == [{"id": two, "exitCode": 3}]
    taken = lines(clean, "system df")[0]
    assert [(row["type"], row["total"], row["active"]) for row in taken["summary"]] == [
        ("Images", 0, 0), ("Containers", 2, 1), ("Volumes", 0, 0),
    ]  # fmt: skip
    assert lines(clean, "system prune", "-f")[0]["containers"] == [two]


def test_lists(clean: Box, names: tuple[str, str]) -> None:
    """ps shows what was asked for: by status, network, volume and age, the last ones, by a template."""
    one, two = names
    clean.run("-d", "--name", one, "-v", "kept:/data", "--", "true")
    clean.pyproc("wait", one)
    clean.run("-d", "--name", two, "-v", "/etc/hostname:/h:ro", "--network", "host", "--", "sleep", "1000")

    def ps(*arguments: str) -> list[str]:
        return clean.pyproc("ps", "-q", *arguments).stdout.split()

    assert ps() == [two] and ps("-a") == [two, one] and ps("-a", "--sort", "id") == [one, two]
    assert ps("-l") == [two] and ps("-n", "2") == [two, one] and ps("--last=5", "-f", "status=exited") == [one]
    assert ps("-a", "-f", "volume=kept") == [one] == ps("-a", "-f", "volume=/data")
    assert ps("-f", "volume=/etc/hostname") == [two] == ps("-a", "-f", f"since={one}")
    assert ps("-f", "network=host") == [two] and ps("-a", "-f", "network=none") == [one] == ps(
        "-a", "-f", f"before={two}"
    )
    text = clean.pyproc("ps", "-a", "--format", "table {{.Names}}\t{{.State}}\t{{.Mounts}}").stdout
    assert [line.split() for line in text.splitlines()] == [
        ["NAMES", "STATE", "MOUNTS"], [two, "running", "/etc/hostname"], [one, "exited", "kept"],
    ]  # fmt: skip
    form = "{{.Name}} {{if .State.Running}}up{{else}}down{{end}} {{range .Mounts}}{{.Destination}} {{end}}"
    assert clean.pyproc("inspect", "-f", form, one).stdout == f"/{one} down /data \n"
    assert clean.pyproc("volume ls", "--format", "{{.Name}}:{{.UsedBy}}").stdout == f"kept:{one}\n"
    refused = clean.pyproc("ps", "-a", "-f", "since=nobody", check=False)
    assert (refused.returncode, "'nobody' does not exist" in refused.stderr) == (1, True)
    clean.pyproc("rm", one)
    assert lines(clean, "system prune", "-f", "--volumes")[0]["volumes"] == []  # it has a name
    clean.pyproc("volume prune", "--all")


def ends(box: Box, name: str, line: str) -> bool:
    """Say whether a line is the last of a container's log."""
    return logged(box, name).endswith(f"{line}\n")


def test_logs_of_a_time(clean: Box, names: tuple[str, str]) -> None:
    """--since and --until cut out what was begun between them; followed, a log ends at the time that was said."""
    one, _ = names
    script = "for x in a b c; do echo $x; until [ -e /tmp/$x ]; do sleep 0.02; done; done; exec sleep 1000"
    clean.run("-d", "--name", one, "--", "sh", "-c", script)
    for said in ("a", "b", "c"):
        until(clean, partial(ends, clean, one, said))
        clean.pyproc("exec", one, "touch", f"/tmp/{said}")
    a, b, c = (line["time"] for line in lines(clean, "logs", one))
    assert clean.pyproc("logs", "--until", b, one).stdout == "a\n"
    assert clean.pyproc("logs", "--since", b, "--until", c, one).stdout == "b\n"
    assert clean.pyproc("logs", "--since", a, "--tail", "all", one).stdout == "a\nb\nc\n"
    assert clean.pyproc("logs", "--until", c, "--tail=1", one).stdout == "b\n"
    assert clean.pyproc("logs", "-f", "--until", f"{time.time() + 0.3}", one).stdout == "a\nb\nc\n"


def test_past_events(clean: Box, names: tuple[str, str]) -> None:
    """What is past is told as far as what is there tells it; with --until it ends."""
    one, two = names
    begun = time.time()
    clean.run("-d", "--name", one, "--", "sh", "-c", "exit 3")
    clean.pyproc("wait", one)
    clean.run("-d", "--name", two, "--", "sleep", "1000")

    def told(*arguments: str) -> list[str]:
        end = f"{time.time() + 0.1}"
        form = "{{.Action}} {{.ID}} {{json .Actor.Attributes}}"
        return clean.pyproc("events", "--until", end, "--format", form, *arguments).stdout.splitlines()

    since = ("--since", f"{begun}")
    assert [line.split(" ", 2)[:2] for line in told(*since)] == [
        ["create", one], ["start", one], ["die", one], ["create", two], ["start", two],
    ]  # fmt: skip
    assert told(*since, "-f", "event=die") == [f'die {one} {{"name": "{one}", "exitCode": 3}}']
    assert told(*since, "--filter", f"container={two}", "--filter", "event=start", "--filter", "event=die") == [
        f'start {two} {{"name": "{two}"}}'
    ]
    assert told() == []


def test_conditions(clean: Box, names: tuple[str, str]) -> None:
    """wait waits for what is asked for, and says if that can't come any more."""
    one, _ = names
    clean.run("-d", "--name", one, "--", "sleep", "1000")
    assert clean.pyproc("wait", "--condition", "running", one).stdout == "-1\n"
    paused = popen(clean, "wait", "--condition", "paused", one)
    removed = popen(clean, "wait", "--condition=removed", one)
    with paused, removed:
        clean.pyproc("pause", one)
        assert paused.communicate(timeout=60 * clean.scale)[0] == b"-1\n"
        clean.pyproc("unpause", one)
        clean.pyproc("stop", "-t", "0", one)
        watching(clean, removed.pid)
        with popen(clean, "wait", "--condition", "running", one, stderr=subprocess.PIPE) as never:
            watching(clean, never.pid)
            clean.pyproc("rm", one)
            assert b"was removed before it was running" in never.communicate(timeout=60 * clean.scale)[1]
        assert removed.communicate(timeout=60 * clean.scale)[0] == b"137\n"


def test_update_of_an_ended_one(clean: Box, names: tuple[str, str]) -> None:
    """Its limits are remembered for the next start; one that could not be started so is refused."""
    one, two = names
    for name in names:
        clean.run("-d", "--name", name, "-m", "64m", "--", "sh", "-c", "grep MemTotal /proc/meminfo")
        clean.pyproc("wait", name)
    clean.pyproc("update", "-m", "32m", "--memory-swap", "-1", one, two)
    assert about(clean, two)["HostConfig"]["Memory"] == 32 << 20
    clean.pyproc("start", one)
    until(clean, lambda: logged(clean, one).split() == ["MemTotal:", "65536", "kB", "MemTotal:", "32768", "kB"])
    refused = clean.pyproc("update", "-m", "1m", one, check=False)
    assert (refused.returncode, "too little to run anything" in refused.stderr) == (125, True)
    refused = clean.pyproc("update", "--restart", "sometimes", one, check=False)
    assert (refused.returncode, "choose no, on-failure" in refused.stderr) == (125, True)


def test_who_waits_for_nobody(clean: Box, names: tuple[str, str]) -> None:
    """While somebody works on a container, as commit does, it can be looked at; one that has ended has ended."""
    one, two = names
    clean.run("-d", "--name", one, "--", "sh", "-c", "echo hello; exec sleep 1000")
    clean.run("-d", "--name", two, "--", "true")
    clean.pyproc("wait", two)
    until(clean, lambda: logged(clean, one))
    shutil.rmtree(clean.base / "state" / two)  # as a boot leaves it
    assert clean.pyproc("ps", "-aq").stdout.split() == [two, one]
    for name in names:
        with held(clean, name):
            assert clean.pyproc("inspect", "-f", "{{.State.Status}}", one).stdout == "running\n"
            assert clean.pyproc("inspect", "-f", "{{.State.Status}}", two).stdout == "exited\n"
            assert clean.pyproc("ps", "-a", "--format", "{{.State}}").stdout == "exited\nrunning\n"
            assert clean.pyproc("logs", one).stdout == "hello\n"
            assert clean.pyproc("exec", one, "echo", "hi").stdout == "hi\n"
            assert clean.pyproc("top", "--json", one).stdout
            clean.pyproc("pause", one)
            clean.pyproc("unpause", one)


@contextlib.contextmanager
def held(box: Box, name: str) -> Iterator[None]:
    """Hold a container's lock."""
    descriptor = os.open(box.base / "state" / name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(master: int, box: Box, text: str, count: int) -> str:
    """Return what is written to a terminal, up to so many times a text."""
    found, deadline = "", time.monotonic() + 60 * box.scale
    while found.count(text) < count:
        assert select.select([master], [], [], max(0, deadline - time.monotonic()))[0], found
        found += os.read(master, 65536).decode()
    return found


def test_figures_that_go_on(clean: Box, names: tuple[str, str]) -> None:
    """The table is drawn anew on a terminal, without what has ended meanwhile, until Ctrl-C."""
    one, two = names
    for name in names:
        clean.run("-d", "--name", name, "-m", "64m", "--", "sleep", "1000")
    master, slave = pty.openpty()
    how = {"stdin": slave, "stdout": slave, "stderr": slave, "preexec_fn": lambda: os.setsid()}
    with popen(clean, "stats", "-i", "100ms", **how) as shown:
        os.close(slave)

        def frame() -> str:
            return read(master, clean, CLEAR, 3).split(CLEAR)[1]

        first = frame()
        assert first.count("MEM USAGE / LIMIT") == 1 and one in first and two in first
        clean.pyproc("stop", "-t", "0", two)
        until(clean, lambda: two not in frame())
        assert one in frame()
        shown.send_signal(signal.SIGINT)
        os.set_blocking(master, False)
        assert shown.wait(60 * clean.scale) == 130
    os.close(master)


def test_figures_as_a_stream(clean: Box, names: tuple[str, str]) -> None:
    """JSON is a list a line; the stream ends when the last of those named has; --format writes lines."""
    one, two = names
    for name in names:
        clean.run("-d", "--name", name, "-m", "64m", "--", "sleep", "1000")
    with popen(clean, "stats", "--json", "--interval", "100ms", one, two) as shown:
        assert shown.stdout is not None
        looks = [json.loads(shown.stdout.readline()) for _ in range(2)]
        assert [[each["id"] for each in look] for look in looks] == [[one, two]] * 2
        clean.pyproc("update", "-m", "32m", "--memory-swap", "64m", one)
        while (look := json.loads(shown.stdout.readline()))[0]["memory_limit_bytes"] != 32 << 20:
            assert look[0]["memory_limit_bytes"] == 64 << 20
        clean.pyproc("stop", "-t", "0", two)
        while [each["id"] for each in json.loads(shown.stdout.readline())] != [one]:
            pass
        clean.pyproc("stop", "-t", "0", one)
        assert shown.wait(60 * clean.scale) == 0
    refused = clean.pyproc("stats", "--no-stream", one, check=False)
    assert (refused.returncode, "does not run" in refused.stderr) == (1, True)
    clean.pyproc("start", one)
    text = clean.pyproc("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}").stdout
    assert text.startswith(f"{one} ") and text.endswith(" / 33.6 MB 1\n")


def test_a_picture_with_a_limit_that_changes(clean: Box, names: tuple[str, str]) -> None:
    """What was used before is drawn against the limit of now."""
    one, _ = names
    clean.run("-d", "--name", one, "-m", "64m", "--", "sleep", "1000")
    with popen(clean, "stats", "--graph", "--interval", "100ms", one) as shown:
        assert shown.stdout is not None
        text = b""
        while b"of 67.1 MB" not in text:
            text = shown.stdout.readline()
        clean.pyproc("update", "-m", "32m", "--memory-swap", "64m", one)
        while b"of 33.6 MB" not in text:
            text = shown.stdout.readline()
        assert b"33.6MB" in shown.stdout.readline()
        shown.send_signal(signal.SIGINT)
        shown.stdout.read()
        assert shown.wait(60 * clean.scale) == 130


def test_a_question_on_a_terminal(clean: Box, names: tuple[str, str]) -> None:
    """system prune asks on a terminal, says what it would remove, and does nothing unless told to."""
    one, _ = names
    clean.run("-d", "--name", one, "--", "true")
    clean.pyproc("wait", one)
    refused = clean.pyproc("system prune", check=False)
    assert (refused.returncode, "give -f" in refused.stderr) == (125, True)
    for answer, left in ((b"n\n", [one]), (b"y\n", [])):
        master, slave = pty.openpty()
        command = [str(BIN / "pyproc"), "system", "prune", *clean.places]
        with subprocess.Popen(command, env=clean.environment, stdin=slave, stdout=slave, stderr=slave) as asking:
            os.close(slave)
            assert "all containers that have ended" in read(master, clean, "[y/N]", 1)
            os.write(master, answer)
            assert asking.wait(60 * clean.scale) == 0
        os.close(master)
        assert clean.ids() == left

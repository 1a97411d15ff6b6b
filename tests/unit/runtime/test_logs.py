"""What a detached container's log says, and how long it may become."""

from __future__ import annotations

import json
import os
import struct
import sys
from pathlib import Path

import pytest

from lxcfs_py import process
from lxcfs_py.errors import Error
from runtime import state, units
from runtime.config import logs as rotating
from runtime.kernel import holder
from runtime.lifecycle import hold
from runtime.lifecycle import log as log_
from runtime.lifecycle.log import Log
from runtime.places import host
from tests.unit.runtime.test_living import BASE, made


def test_timestamps(tmp_path: Path) -> None:
    """A line's time is that of the piece it begins in."""
    log = Log(made(tmp_path))
    text = log.read(log_.TIMES).decode()
    stamp = "2023-11-14T22:13:2{}.000000005Z {}\n".format
    assert text == stamp(0, "one") + stamp(0, "two") + stamp(1, "three") + stamp(2, "four")
    assert log.read(log_.TIMES) == b""


@pytest.mark.parametrize("cut", [8, 16])
def test_a_note_that_was_cut(tmp_path: Path, cut: int) -> None:
    """Where the disk was full for a while what follows has its times all the same."""
    found = made(tmp_path)
    path = Path(found.storage, "log.times")
    notes = path.read_bytes()[:72]
    path.write_bytes(notes[:24] + notes[24 : 24 + cut] + notes[48:])
    stamp = "2023-11-14T22:13:2{}.000000005Z {}\n".format
    text = Log(found).read(log_.TIMES).decode()
    assert text == stamp(0, "one") + stamp(0, "two") + stamp(0, "three") + stamp(2, "four")


@pytest.mark.parametrize(
    ("since", "left"), [(0, b"one\ntwo\nthree\nfour\n"), (1, b"three\nfour\n"), (2, b"four\n"), (3, b"")]
)
def test_since(tmp_path: Path, since: int, left: bytes) -> None:
    """Only lines that were begun then or later are shown, whole."""
    log = Log(made(tmp_path))
    log.since(BASE + since * 10**9)
    assert log.read() == left


@pytest.mark.parametrize(
    ("until", "left"), [(0, b""), (1, b"one\ntwo\n"), (2, b"one\ntwo\nthree\n"), (3, b"one\ntwo\nthree\nfour\n")]
)
def test_until(tmp_path: Path, until: int, left: bytes) -> None:
    """Only lines that were begun before then are shown, whole, and the last of these as such."""
    log = Log(made(tmp_path))
    log.until(BASE + until * 10**9)
    log.tail(1)
    assert (log.read(), log.read()) == (left.splitlines(keepends=True)[-1] if left else b"", b"")
    log.at = 0
    assert (log.read(), log.read()) == (left, b"")


def test_a_log_as_json(tmp_path: Path) -> None:
    """Each line is an object, with the time of its beginning; what is no text does no harm."""
    found = made(tmp_path)
    Path(found.storage, "log").write_bytes(b"one\ntw" + b"o\nth\xffee" + b"\nfour\n")
    log, text = Log(found), b""
    while piece := log.read(log_.JSON):
        text += piece
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["log"] for line in lines] == ["one\n", "two\n", "th\ufffdee\n", "four\n"]
    assert [line["time"][18] for line in lines] == ["0", "0", "1", "2"]


@pytest.mark.parametrize(("count", "left"), [(0, b""), (1, b"four\n"), (3, b"two\nthree\nfour\n"), (9, None)])
def test_tail(tmp_path: Path, count: int, left: bytes | None) -> None:
    """The last lines are the last lines, and all where there are no more."""
    log = Log(made(tmp_path))
    log.tail(count)
    assert log.read() == (b"one\ntwo\nthree\nfour\n" if left is None else left)


def test_the_tail_of_a_long_log(tmp_path: Path) -> None:
    """A log of many chunks is not read but from its end; its last line need not be ended."""
    found = made(tmp_path)
    Path(found.storage, "log").write_bytes(b"".join(b"%d\n" % n for n in range(100_000)) + b"end")
    log = Log(found)
    log.tail(2)
    assert log.read() == b"99999\nend"
    log.at = 0
    log.tail(50_000)
    assert log.read().startswith(b"50001\n")


def test_a_rotated_log(tmp_path: Path) -> None:
    """Its files are read as one, also those that are begun while it is read; only so many stay."""
    found = made(tmp_path)
    path, log = f"{found.storage}/log", Log(found)
    for number in range(5, 8):
        for file in hold.rotate(path, 3):
            os.close(file)
        Path(path).write_text(f"{number}\n")
        Path(f"{path}.times").write_bytes(struct.pack(holder.TIME, BASE // 10**9 + number, 5, 0))
        if number == 5:
            assert log.read() == b"one\ntwo\nthree\nfour\n"
    assert [log.read() for _ in range(4)] == [b"5\n", b"6\n", b"7\n", b""]
    assert sorted(name for name in os.listdir(found.storage) if "times" not in name) == ["log", "log.1", "log.2"]
    log = Log(found)
    log.tail(2)
    assert log.read(log_.TIMES) == b"2023-11-14T22:13:26.000000005Z 6\n"
    log.since(BASE + 7 * 10**9)
    assert log.read() == b"7\n"
    for file in hold.rotate(path, 1):
        os.close(file)
    assert Path(path).read_bytes() == b"" and not Path(f"{path}.1").exists()


def test_a_log_that_is_followed_for_long(tmp_path: Path) -> None:
    """Whoever follows keeps nothing open of what it has read: its place on the disk is free when it is removed."""
    found = made(tmp_path)
    path, log = f"{found.storage}/log", Log(found)
    had, said = len(os.listdir("/proc/self/fd")), b""
    for number in range(50):
        for file in hold.rotate(path, 2):
            os.close(file)
        Path(path).write_text(f"{number}\n")
        Path(f"{path}.times").write_bytes(struct.pack(holder.TIME, BASE // 10**9 + number, 5, 0))
        while data := log.read(log_.TIMES if number % 2 else log_.PLAIN):
            said += data.split()[-1] + b" "
    assert said == b"four " + b"".join(b"%d " % number for number in range(50))
    assert len(os.listdir("/proc/self/fd")) <= had + 2


def test_where_no_log_can_be_begun(tmp_path: Path) -> None:
    """What there is keeps its name, if a new one can't be made."""
    found = made(tmp_path)
    path = Path(found.storage, "log")
    before = {file.name: file.read_bytes() for file in path.parent.glob("log*")}
    Path(f"{path}.new").mkdir()
    with pytest.raises(OSError, match=r"log\.new"):
        hold.rotate(str(path), 3)
    Path(f"{path}.new").rmdir()
    Path(f"{path}.new.times").unlink(missing_ok=True)
    assert {file.name: file.read_bytes() for file in path.parent.glob("log*")} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("max-size=1k",), "less than one piece of a log; give at least 64k"),
        (("max-file=2",), "max-file without max-size: the log would never be full; add"),
        (("size=1",), "'size=1': unknown; there are max-size=10m and max-file=3"),
        (("max-size",), "unknown"),
        (("max-size=1m", "max-file=0"), "the log is a file itself"),
        (("max-size=x",), "--log-opt max-size 'x': not a size"),
    ],
)
def test_no_rotation(words: tuple[str, ...], message: str) -> None:
    """What makes no sense is refused, with what would."""
    with pytest.raises(Error, match=r"--log-opt ") as refused:
        rotating.said(words)
    assert message in str(refused.value)


def test_rotation() -> None:
    """What was said is what holds; a bundle may say anything."""
    assert rotating.rotation(rotating.said(("max-size=1m", "max-file=3"))) == rotating.Rotation(1 << 20, 3)
    assert rotating.rotation(rotating.said(("max-size=1m",))) == rotating.Rotation(1 << 20, 1)
    assert rotating.rotation(rotating.said(())) == rotating.Rotation()
    assert rotating.rotation({rotating.MAX_SIZE: "x", rotating.MAX_FILE: "1"}) == rotating.Rotation()
    assert rotating.rotation({rotating.MAX_SIZE: "1", rotating.MAX_FILE: "0"}) == rotating.Rotation(1 << 16, 1)


def test_moments() -> None:
    """A time is a length before now, seconds since 1970, or a date."""
    now = 10**18
    moment = units.moment
    assert moment("10m", "--since", now) == now - 600 * 10**9
    assert moment("-10m", "--until", now) == now + 600 * 10**9
    assert moment("1700000000", "--since", now) == BASE
    assert moment("2023-11-14T22:13:20Z", "--since", now) == BASE
    for text in ("1700000000.123456789", "2023-11-14T22:13:20.123456789Z", "2023-11-14T23:13:20.123456789+01:00"):
        assert moment(text, "--since", now) == BASE + 123_456_789
    for text in ("soon", "2023-13-14", "--5m", ""):
        with pytest.raises(Error, match="--since"):
            moment(text, "--since", now)


@pytest.mark.parametrize("hindered", ["", "locked", "another's"])
def test_a_full_log_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hindered: str) -> None:
    """A full log is rotated by its holder: not while the container may be being removed, nor by another's."""
    root, found = str(tmp_path / "root"), made(tmp_path, annotations=rotating.said(["max-size=64k"]))
    about = process.stat(host(), 1 if hindered == "another's" else os.getpid())
    assert about is not None
    Path(found.directory, state.HOLDER).write_text(f"{about.pid}\n{about.start_ticks}\n")
    moved: list[int] = []
    lengths: list[int] = []
    before = os.open(f"{found.storage}/log", os.O_RDONLY)
    monkeypatch.setattr(holder, "LOG", before)
    monkeypatch.setattr(holder, "lengthen", lengths.append)
    monkeypatch.setattr(os, "dup2", lambda _file, number: moved.append(number))
    monkeypatch.setattr(holder, "again", lambda *_words: sys.exit())
    held = state.lock(root, "web") if hindered == "locked" else -1
    with pytest.raises(SystemExit):
        hold.turn(root, str(tmp_path / "storage"), "web")
    if held >= 0:
        os.close(held)
    size = os.fstat(before).st_size
    os.close(before)
    assert lengths == [2 * size if hindered else 64 << 10]
    assert moved == ([] if hindered else [holder.LOG, holder.TIMES])
    assert (Path(found.storage, "log").stat().st_size > 0) == bool(hindered)

"""What is said to systemd: messages, names, properties; and what becomes of its answers."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.cgroup import control
from lxcfs_py.errors import Error
from runtime.systemd import bus, message, properties, scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAMED = st.tuples(
    TEXT,
    st.one_of(
        st.tuples(st.just("s"), TEXT),
        st.tuples(st.just("b"), st.booleans()),
        st.tuples(st.just("t"), st.integers(0, 2**64 - 1)),
        st.tuples(st.just("au"), st.lists(st.integers(0, 2**32 - 1))),
        st.tuples(st.just("ay"), st.lists(st.integers(0, 255))),
        st.tuples(st.just("a(st)"), st.lists(st.tuples(TEXT, st.integers(0, 2**64 - 1)))),
    ),
)


@given(st.lists(NAMED))
def test_what_is_put_is_taken(named: list[tuple[str, tuple[str, Any]]]) -> None:
    """Whatever properties there are, they are read from the message as they were written, and its length is told."""
    whole = message.call(7, {message.MEMBER: "Set"}, "sa(sv)u", ["x.scope", named, 9])
    assert message.length(whole[: message.FIXED_BYTES]) == len(whole)
    found = message.parse(whole)
    assert found.kind == message.CALL
    assert found.fields == {message.MEMBER: "Set", message.SIGNATURE: "sa(sv)u"}
    assert found.values() == ["x.scope", [(name, value) for name, (_, value) in named], 9]


def test_bytes() -> None:
    """The bytes are those of the specification: aligned by what is before them, arrays as long as their items."""
    out = bytearray()
    for kind, value in (("y", 1), ("at", [5]), ("v", ("s", "foo")), ("(yt)", (2, 3))):
        message.put(out, kind, value)
    assert out == (
        b"\x01\0\0\0" b"\x08\0\0\0" b"\x05\0\0\0\0\0\0\0"
        b"\x01s\0\0" b"\x03\0\0\0foo\0" b"\0\0\0\0" b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"
    )  # fmt: skip
    assert list(message.types("sa(sv)a(sa(sv))uay")) == ["s", "a(sv)", "a(sa(sv))", "u", "ay"]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("", "/system.slice/pyproc-web.scope"),
        ("machine.slice:libpod:0a", "/machine.slice/libpod-0a.scope"),
        (":crio:0a", "/system.slice/crio-0a.scope"),
        ("a-b-c.slice::x", "/a.slice/a-b.slice/a-b-c.slice/x.scope"),
        ("-.slice:p:x", "/p-x.scope"),
    ],
)
def test_units(asked: str, path: str) -> None:
    """A scope is in its slice, a slice in those its name begins with."""
    assert scope.unit(asked, "web").path == path


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("/a/b", "is a path, and systemd takes units"),
        ("a.slice:b", "is a path"),
        ("a.slice:b:", "is a path"),
        ("a:b:c", "'a' is not a slice"),
        ("-a.slice:b:c", "'-a.slice' is not a slice"),
        ("a--b.slice:b:c", "is not a slice"),
        (".slice:b:c", "is not a slice"),
        ("../x.slice:b:c", "is not a slice"),
        ("a.slice:b:../c", "'b-../c.scope' can't be a unit"),
        (f"a.slice:b:{'c' * 255}", "can't be a unit"),
    ],
)
def test_no_units(asked: str, said: str) -> None:
    """What can't be a slice and a name is refused."""
    with pytest.raises(Error, match=r"linux\.cgroupsPath: ") as caught:
        scope.unit(asked, "web")
    assert said in str(caught.value)


def test_where_systemd_is(tmp_path: Path) -> None:
    """systemd's units are where it has put itself: at the top, or below the cgroup of a container it runs in."""
    (tmp_path / "1").mkdir()
    for text, path in (("0::/init.scope\n", ""), ("0::/a/b/init.scope\n", "/a/b"), ("0::/\n", "")):
        (tmp_path / "1/cgroup").write_text(text)
        assert scope.manager(str(tmp_path)) == path


WHOLE = control.Limits(
    memory_bytes=64 << 20, memory_reservation_bytes=32 << 20, swap_total_bytes=96 << 20, cpu_quota_usec=150_000,
    cpu_period_usec=100_000, cpu_shares=1024, cpuset_cpus="0-1,9", cpuset_mems="0", pids_limit=50, io_weight=500,
    io=((8, 0, "rbps", 1000), (8, 16, "rbps", 0), (8, 0, "wiops", 7)), io_device_weights=((8, 0, 10),),
    hugetlb=(("2MB", 4096),), unified={"memory.high": "max", "misc.max": "x 1"},
)  # fmt: skip
BY_NAME = {
    "MemoryMax": 64 << 20, "MemorySwapMax": 32 << 20, "MemoryLow": 32 << 20, "MemoryHigh": properties.INFINITY,
    "CPUQuotaPerSecUSec": 1_500_000, "CPUQuotaPeriodUSec": 100_000, "CPUWeight": 39, "TasksMax": 50,
    "AllowedCPUs": b"\x03\x02", "AllowedMemoryNodes": b"\x01", "IOWeight": 4950,
    "IODeviceWeight": (("/dev/block/8:0", 1),),
    "IOReadBandwidthMax": (("/dev/block/8:0", 1000), ("/dev/block/8:16", properties.INFINITY)),
    "IOWriteIOPSMax": (("/dev/block/8:0", 7),),
}  # fmt: skip


def test_limits() -> None:
    """Each limit that systemd has a property for is one; the others are written to their files alone."""
    assert {name: value for name, (_, value) in properties.of_limits(control.as_files(WHOLE))} == BY_NAME


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("cpu.max", "max 50000", [properties.INFINITY, 50_000]),
        ("cpu.max", "33333 100000", [340_000, 100_000]),
        ("cpu.max", "1000", [10_000, 100_000]),
        ("cpu.idle", "1", [0]),
        ("cpu.idle", "0", []),
        ("memory.min", "5\n", [5]),
        ("io.weight", "default 70", [70]),
        ("io.max", "8:0 rbps=max riops=3", [(("/dev/block/8:0", properties.INFINITY),), (("/dev/block/8:0", 3),)]),
    ],
)
def test_files(file: str, text: str, expected: list[Any]) -> None:
    """What a file takes is understood as the kernel understands it; a share of a CPU is never rounded down."""
    assert [value for _, (_, value) in properties.of_limits([(file, text)])] == expected


def test_no_limit() -> None:
    """What is no file's text is an error naming it."""
    with pytest.raises(Error, match=r"linux\.resources: memory\.max: 'much' is no limit"):
        properties.of_limits([("memory.max", "much")])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'text'", ("s", "text")), ('"text"', ("s", "text")), ("true", ("b", True)), ("15", ("i", 15)),
        ("uint64 10000000", ("t", 10_000_000)), ("int32 -1", ("i", -1)), ("['a.b', 'c']", ("as", ["a.b", "c"])),
        ("[]", ("as", [])), ("text", None), ("[1]", None), ("", None), ("'", None), ("double 1", None), ("x 1", None),
    ],
)  # fmt: skip
def test_annotations(text: str, value: object) -> None:
    """A property may be an annotation, in GVariant's words; what can't be understood is named."""
    asked = {"org.systemd.property.Some": text, "other": "x"}
    if value is not None:
        assert properties.of_annotations(asked) == [("Some", value)]
        return
    with pytest.raises(Error, match=r"annotations\.org\.systemd\.property\.Some: .* can't be understood"):
        properties.of_annotations(asked)


def test_seconds() -> None:
    """A time in seconds is what D-Bus counts in microseconds."""
    asked = {"org.systemd.property.TimeoutStopSec": "uint64 5"}
    assert properties.of_annotations(asked) == [("TimeoutStopUSec", ("t", 5_000_000))]


def _answer(kind: int, serial: int, fields: dict[int, Any], signature: str, values: list[Any]) -> bytes:
    there = {**fields, message.SIGNATURE: signature, **({message.REPLY_SERIAL: serial} if serial else {})}
    out, body = bytearray(), bytearray()
    for each, value in zip(message.types(signature), values, strict=True):
        message.put(body, each, value)
    rows = [(number, (message.TYPES[number], value)) for number, value in there.items()]
    for each, value in zip(message.types(message.HEADER), (ord("l"), kind, 1, 1, len(body), 1, rows), strict=True):
        message.put(out, each, value)
    return bytes(out + bytes(-len(out) % 8) + body)


JOB = "/org/freedesktop/systemd1/job/7"


def removed(result: str) -> bytes:
    """Return the signal of a job's end."""
    return _answer(message.SIGNAL, 0, {message.MEMBER: "JobRemoved"}, "uoss", [7, JOB, "x.scope", result])


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Callable[[bytes], bus.Bus]]:
    """Yield what makes a connection to a manager that answers the first call with given bytes, and hangs up."""
    threads = []

    def serve(listener: socket.socket, answer: bytes) -> None:
        there, _ = listener.accept()
        with listener, there:
            got = b""
            while b"BEGIN\r\n" not in got:
                got += there.recv(4096)
            assert got.startswith(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
            there.sendall(b"DATA\r\nOK 0123\r\n")
            got = got.partition(b"BEGIN\r\n")[2]
            while len(got) < message.FIXED_BYTES or len(got) < message.length(got):
                got += there.recv(4096)
            there.sendall(answer)
            there.shutdown(socket.SHUT_WR)
            there.recv(1)  # until the other end has gone

    def make(answer: bytes) -> bus.Bus:
        listener = socket.socket(socket.AF_UNIX)
        with listener:
            listener.bind(str(tmp_path / "private"))
            listener.listen()
            threads.append(threading.Thread(target=serve, args=(listener.dup(), answer)))
            threads[-1].start()
        return bus.Bus(str(tmp_path / "private"))

    yield make
    for thread in threads:
        thread.join(timeout=20)


ACCEPTED = _answer(message.ANSWER, 1, {}, "o", [JOB])
OTHER = _answer(message.SIGNAL, 0, {message.MEMBER: "UnitNew"}, "so", ["a.service", "/a"])


@pytest.mark.parametrize(
    "answer", [OTHER + ACCEPTED + OTHER + removed("done"), removed("done") + ACCEPTED], ids=["usual", "early"]
)
def test_a_job_that_is_done(manager: Callable[[bytes], bus.Bus], answer: bytes) -> None:
    """A job has ended when the manager says so, whatever it says in between, and be it before its answer."""
    with manager(answer) as there:
        there.job("StopUnit", "ss", "x.scope", "replace")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ACCEPTED + removed("failed"), "systemd: StopUnit x.scope: failed; journalctl -u x.scope tells why"),
        (_answer(message.ERROR, 1, {message.ERROR_NAME: "a.B"}, "s", ["No"]), "systemd: StopUnit x.scope: No"),
        (b"", "systemd ended the connection"),
        (ACCEPTED[:30], "systemd ended the connection"),
    ],
    ids=["failed", "refused", "gone", "cut"],
)
def test_a_job_that_is_not(manager: Callable[[bytes], bus.Bus], answer: bytes, said: str) -> None:
    """A job that fails, a call that is refused and a connection that ends are errors."""
    with manager(answer) as there, pytest.raises(Error) as caught:
        there.job("StopUnit", "ss", "x.scope", "replace")
    assert said in str(caught.value)
    assert caught.value.exit_code == 125


def test_nobody_there(tmp_path: Path) -> None:
    """Where no systemd listens, the socket is named."""
    with pytest.raises(Error, match=r"can't reach systemd: .*/private: No such file or directory"):
        bus.Bus(str(tmp_path / "private"))


def test_another_order_of_bytes() -> None:
    """A message of a machine that counts the other way round is not taken for one of ours."""
    with pytest.raises(ValueError, match="big-endian"):
        message.parse(b"B" + struct.pack(">BBBIII", 1, 0, 1, 0, 1, 0))


def test_who_is_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's systemd takes in what is below it; what isn't only if there is the system's bus."""

    class Bus:
        """Serves as process 5."""

        path = "/private"

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """Close nothing."""

        def peer(self) -> int:
            """Return the manager's pid."""
            return 5

    def process(name: str, cgroup: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "cgroup").write_text(f"0::{cgroup}\n")

    monkeypatch.setattr(scope, "Bus", Bus)
    process("5", "/user.slice/user@7.service/init.scope")
    missing = str(tmp_path / "bus")
    process("self", "/user.slice/user@7.service/app.slice/a.service")
    assert scope.users(str(tmp_path), missing) == "/user.slice/user@7.service"
    process("self", "/user.slice/session-1.scope")
    with pytest.raises(
        scope.OutsideError, match=r"what is started in /user.slice/session-1.scope: no message bus: .*/bus"
    ):
        scope.users(str(tmp_path), missing)
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(missing)
        served.listen()
        assert scope.users(str(tmp_path), missing) == "/user.slice/user@7.service"

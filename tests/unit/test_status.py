"""What the daemon says of itself, and how it is asked."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from lxcfs_py import control, counters, sockets, status
from lxcfs_py.cgroup.api import Cgroup
from lxcfs_py.container import Container
from lxcfs_py.counters import NAMES, Table
from lxcfs_py.daemon import answering, metrics
from lxcfs_py.daemon import control as control_service
from lxcfs_py.daemon import status as gathered
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

NSEC = 10**9


def rows() -> list[counters.Worker]:
    """Return two workers that have answered each a read of a container and one of the host."""
    descriptor = os.memfd_create("test")
    table = Table(descriptor, 2)
    os.close(descriptor)
    for number in range(2):
        row = table.row(number)
        row.start()
        for cell in (row.cell("web@7"), row.cell("/gone"), counters.HOST):
            row.words[counters.BUSY_SINCE_NSEC] = time.monotonic_ns()
            row.read(NAMES.index("proc/stat"), cell)
        row.words[counters.BUSY_SINCE_NSEC] = 0
    return [table.worker(number) for number in range(2)]


def found() -> dict[str, Any]:
    """Return a status."""
    workers = rows()
    return {
        "version": "1",
        "mountpoint": '/a "b\\\n',
        "supervisor": {"pid": 7, "age_seconds": 90_000.5},
        "agent": None,
        "workers": [gathered.worker(row, "S", time.monotonic_ns()) for row in workers],
        "files": {name: gathered.times(gathered.sum_of([row.files[name] for row in workers])) for name in NAMES},
        **gathered.reads(
            workers, {"web": Container("web@7", Cgroup({}), 70), "db": Container("db@8", Cgroup({}), 80)}
        ),
        "seccomp_listeners": 3,
        "triggers": 4,
        "log": {"written": 5, "left_out": 6},
    }


@pytest.mark.parametrize(
    ("opcode", "busy_nsec", "state", "said"),
    [
        (counters.IDLE, 0, "S", ("idle", "", 0)),
        (counters.OPCODES["read"], NSEC, "R", ("busy", "read", NSEC // 1000)),
        (counters.OPCODES["read"], NSEC, "T", ("stopped", "read", NSEC // 1000)),
        (counters.OPCODES["read"], NSEC, "", ("ended", "read", NSEC // 1000)),
    ],
)
def test_a_workers_state(opcode: int, busy_nsec: int, state: str, said: tuple[str, str, int]) -> None:
    """A worker is busy from when it has taken a request up; one that is stopped or has ended is called so."""
    now = 5 * NSEC
    row = rows()[0].replace(opcode=opcode, busy_since_nsec=now - busy_nsec if busy_nsec else 0, started_nsec=3 * NSEC)
    told = gathered.worker(row, state, now)
    assert (told["state"], told["operation"], told["busy_usec"]) == said
    assert told["age_seconds"] == 2


def test_reads_by_container() -> None:
    """Workers' counts are added; one that nobody knows any more counts with the others, one without reads has 0."""
    told = found()
    assert told["containers"] == [
        {"id": "web", "init_pid": 70, "reads": 2},
        {"id": "db", "init_pid": 80, "reads": 0},
    ]
    assert (told["others"], told["host_reads"]) == ({"containers": 1, "reads": 2}, 2)
    assert told["files"]["proc/stat"]["count"] == 6


def test_the_table() -> None:
    """People see every worker, the files that were read, every container, and round ages."""
    told = found()
    told["workers"][1].update(state="busy", operation="read", busy_usec=1500)
    text = status.table(told)
    assert "pid 7, 1 d; agent: none" in text
    assert "busy: read since 1.5 ms" in text
    assert [line.split()[-1] for line in text.splitlines() if "proc/" in line] == ["proc/stat"]
    assert [line.split() for line in text.splitlines() if line.endswith(("web", "db"))] == [
        ["2", "70", "web"],
        ["0", "80", "db"],
    ]


def test_metrics_are_what_prometheus_reads() -> None:
    """Prometheus' own parser finds every number of the status, and histograms that never fall."""
    told = found()
    families = {family.name: family for family in text_string_to_metric_families(metrics.text(told))}
    assert families["lxcfs_py_info"].samples[0].labels == {"version": "1", "mountpoint": told["mountpoint"]}
    values = {name: [sample.value for sample in family.samples] for name, family in families.items()}
    assert values["lxcfs_py_container_reads"] == [2, 0]
    assert values["lxcfs_py_other_reads"] == values["lxcfs_py_host_reads"] == [2]
    assert (values["lxcfs_py_seccomp_listeners"], values["lxcfs_py_triggers"]) == ([3], [4])
    assert (values["lxcfs_py_log_lines"], values["lxcfs_py_log_lines_left_out"]) == ([5], [6])
    reads = families["lxcfs_py_read_seconds"]
    assert reads.type == "histogram"
    for name in NAMES:
        of_file = [sample for sample in reads.samples if sample.labels["file"] == name]
        buckets = [sample.value for sample in of_file if sample.name.endswith("_bucket")]
        assert (buckets, len(buckets)) == (sorted(buckets), counters.BUCKETS)
        assert (
            {s.value for s in of_file if s.name.endswith("_count")} == {told["files"][name]["count"]} == {buckets[-1]}
        )
    assert all(family.documentation for family in families.values())


@pytest.mark.parametrize(
    "address", ["", "9400", ":9400", "localhost:", "localhost:x", "localhost:70000", "192.0.2.1:9400"]
)
def test_no_address(address: str) -> None:
    """What is no address, or none of this host's, is refused by name."""
    with pytest.raises(Error, match="--metrics"):
        metrics.listen(address)


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A socket of one before us is replaced, a file of somebody's is not, and who is replaced leaves ours there."""
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(Error, match="something else"):
        metrics.listen(f"unix:{path}")
    assert path.read_text() == "x"
    path.unlink()
    first, second = (metrics.listen(f"unix:{path}") for _ in range(2))
    first.close()
    assert path.is_socket()
    second.close()
    assert not path.exists()


def ask(at: sockets.Listening, *questions: bytes) -> list[bytes]:
    """Return what is answered to each question on a connection of its own."""

    def one(question: bytes) -> bytes:
        if at.path:
            connection = sockets.connect(at.path, 20)
        else:
            connection = socket.create_connection(at.socket.getsockname()[:2], 20)
        with connection:
            connection.sendall(question)
            return connection.makefile("rb").read()

    return [one(question) for question in questions]


def serving(at: sockets.Listening, serve: Callable[[], Awaitable[None]], *questions: bytes) -> list[bytes]:
    """Serve while the questions are asked."""

    async def both() -> list[bytes]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                return await trio.to_thread.run_sync(ask, at, *questions)
            finally:
                nursery.cancel_scope.cancel()

    try:
        return trio.run(both)
    finally:
        at.close()


async def _told() -> dict[str, Any]:
    return found()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "unix:metrics.sock"])
def test_http(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GET and HEAD of /metrics are answered, anything else is refused, garbage too."""
    monkeypatch.chdir(tmp_path)
    at = metrics.listen(address)
    requests = (
        b"GET /metrics HTTP/1.1",
        b"HEAD /metrics HTTP/1.0",
        b"GET /x HTTP/1.1",
        b"POST / HTTP/1.1",
        b"\xff\0",
    )
    replies = serving(at, lambda: metrics.serve(at, _told), *(each + b"\r\n\r\n" for each in requests))
    assert [reply.split(b" ")[1] for reply in replies] == [b"200", b"200", b"404", b"405", b"405"]
    head, _, body = replies[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert replies[1].partition(b"\r\n\r\n")[2] == b""
    assert list(tmp_path.iterdir()) == []


def test_the_slow_hold_up_nobody(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With twice as many silent connections as are taken at a time a question is answered, after their time."""
    monkeypatch.setattr(answering, "SECONDS", 0.3)
    at = metrics.listen("127.0.0.1:0")
    silent = [socket.create_connection(at.socket.getsockname()) for _ in range(2 * answering.MOST_CONNECTIONS)]
    replies = serving(
        at, lambda: metrics.serve(at, _told), b"GET / HTTP/1.0\r\n\r\n", b"x" * 2 * answering.MOST_BYTES
    )
    assert b" 200 OK" in replies[0]
    for each in silent:
        each.close()
    assert capsys.readouterr().err == ""


def test_an_answer_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes wrong in an answer costs that answer, and one line of the log."""
    asked = 0

    async def broken() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise KeyError("x")
        return found()

    at = metrics.listen("127.0.0.1:0")
    replies = serving(at, lambda: metrics.serve(at, broken), *[b"GET / HTTP/1.0\r\n\r\n"] * 3)
    assert [len(reply) > 0 for reply in replies] == [False, False, True]
    assert capsys.readouterr().err == "lxcfs-py: - status: KeyError: 'x'\n"


def test_the_control_socket(tmp_path: Path) -> None:
    """A word is answered by JSON, an unknown one by an error; the socket is root's, at a path of any length."""
    host = Host(run=str(tmp_path / ("x" * 120)))
    with pytest.raises(Error, match="no lxcfs-py daemon serves"):
        control.ask(host, "status")
    at = control_service.listen(host)
    assert os.stat(at.path).st_mode & 0o777 == 0o600

    async def both() -> list[Any]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(control_service.serve, at, {"status": _told})
            try:
                with pytest.raises(Error, match="'x': no such request"):
                    await trio.to_thread.run_sync(control.ask, host, "x")
                return [await trio.to_thread.run_sync(control.ask, host, "status") for _ in range(2)]
            finally:
                nursery.cancel_scope.cancel()

    told = trio.run(both)
    at.close()
    assert [each["log"] for each in told] == [{"written": 5, "left_out": 6}] * 2
    with pytest.raises(Error, match="no lxcfs-py daemon serves"):
        control.ask(host, "status")

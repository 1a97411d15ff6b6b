"""Seeing inside: what the daemon tells of itself is what it did."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.apart import Apart
from tests.live.box import BIN, Box
from tests.live.test_daemon import READER

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anywhere  # what the daemon says of itself


MEMINFO, STAT, CPU = "proc/meminfo", "proc/stat", "sys/devices/system/cpu"


@pytest.fixture
def apart(tmp_path: Path, time_scale: float) -> Iterator[Apart]:
    """Yield a box with a mount namespace of its own, without a daemon yet."""
    found = Apart(tmp_path, time_scale)
    yield found
    found.close()


def asked(box: Box, *options: str) -> subprocess.CompletedProcess[str]:
    """Run lxcfs-py status."""
    command = [str(BIN / "lxcfs-py"), "status", *options]
    return subprocess.run(command, env=box.environment, capture_output=True, text=True, check=False)


def told(box: Box) -> dict[str, Any]:
    """Return the status, not an older one."""
    time.sleep(0.6)  # a status is that fresh (daemon.status.FRESH_SECONDS)
    done = asked(box, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def total(found: dict[str, Any], name: str) -> int:
    """Return the sum over all workers."""
    return sum(worker[name] for worker in found["workers"])


def until(box: Box, what: Any) -> dict[str, Any]:
    """Return the first status of which something holds."""
    deadline = time.monotonic() + 30 * box.scale
    while not what(found := told(box)):
        assert time.monotonic() < deadline, found
    return found


def scraped(address: str | Path, scale: float) -> str:
    """Return the metrics."""
    if isinstance(address, Path):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30 * scale)
        connection.connect(str(address))
    else:
        host, _, port = address.rpartition(":")
        connection = socket.create_connection((host, int(port)), 30 * scale)
    with connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK"), head
    return body.decode()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_no_daemon(own: Box) -> None:
    """Without a daemon there is one line that says so, and an exit status of 1; after SIGTERM again."""
    for _ in range(2):
        done = asked(own)
        said = "lxcfs-py: no lxcfs-py daemon serves; start one: lxcfs-py serve\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
        own.start_daemon()
        assert asked(own).returncode == 0
        own.stop_daemon()
    assert list((own.base / "run/lxcfs-py").iterdir()) == []


def test_reads_are_counted(own: Box) -> None:
    """As many reads as were made are counted: of the file, of the container, and none of another's."""
    daemon = own.start_daemon("--workers", "2")
    names = [own.start("-m", "64m", "--", "sleep", "1000") for _ in range(2)]
    before = told(own)
    script = f"for i in 1 2 3 4 5 6 7; do cat /{MEMINFO}; done; cat /{STAT}"
    own.pyproc("exec", names[0], "--", "sh", "-c", script)
    (own.mountpoint / MEMINFO).read_text()
    after = told(own)
    grown = {name: after["files"][name]["count"] - before["files"][name]["count"] for name in after["files"]}
    del grown[CPU]  # the daemon itself reads one of these, to see that it is served
    assert {name: count for name, count in grown.items() if count} == {MEMINFO: 8, STAT: 1}
    reads = {row["id"]: row["reads"] for row in after["containers"]}
    assert reads == {names[0]: 8, names[1]: 0}
    assert total(after, "requests") - total(before, "requests") >= 9 * 3  # open, two reads, release
    assert total(after, "errors") == total(after, "fallbacks") == 0
    assert after["supervisor"]["pid"] == daemon.pid
    assert os.readlink(f"/proc/{after['agent']['pid']}/exe") == os.readlink(f"/proc/{daemon.pid}/exe")
    assert after["seccomp_listeners"] == 2
    for row in (after["files"][MEMINFO], after["files"][STAT]):
        assert 0 < row["p50_usec"] <= row["p99_usec"] <= row["max_usec"] <= row["sum_usec"]
    own.pyproc("delete", "--force", names[0])
    gone = told(own)
    assert [row["id"] for row in gone["containers"]] == [names[1]]
    assert gone["others"]["reads"] >= after["others"]["reads"] + 8


def test_a_read_that_fails_and_a_worker_that_dies(apart: Apart) -> None:
    """That neither the container's text nor the host's can be had is counted; a worker's death is too."""
    apart.start_daemon("--workers", "1")
    apart.cover(f"/{MEMINFO}", None)
    name = apart.start("-m", "64m", "--proc-view", "require", "--", "sleep", "1000")
    done = apart.pyproc("exec", name, "--", "cat", f"/{MEMINFO}", check=False)
    assert "Input/output error" in done.stderr
    worker = told(apart)["workers"][0]
    assert (worker["state"], worker["errors"], worker["fallbacks"]) == ("idle", 1, 1)
    os.kill(worker["pid"], signal.SIGKILL)
    found = until(apart, lambda found: found["workers"][0]["starts"] == 2)
    assert found["workers"][0]["pid"] != worker["pid"]
    assert found["workers"][0]["requests"] >= worker["requests"]


@pytest.mark.parametrize("unix", [False, True])
def test_metrics_say_the_same(own: Box, unix: bool) -> None:
    """Prometheus' parser reads what is served at an address or a socket, and it is what status says."""
    address = own.base / "metrics.sock" if unix else f"127.0.0.1:{free_port()}"
    own.start_daemon("--metrics", f"unix:{address}" if unix else str(address))
    name = own.start("--", "sleep", "1000")
    own.pyproc("exec", name, "--", "cat", f"/{MEMINFO}")
    found = told(own)
    families = {each.name: each for each in text_string_to_metric_families(scraped(address, own.scale))}
    requests = families["lxcfs_py_worker_requests"].samples
    assert {s.labels["worker"]: s.value for s in requests} == {
        str(w["number"]): w["requests"] for w in found["workers"]
    }
    assert [(s.labels, s.value) for s in families["lxcfs_py_container_reads"].samples] == [({"container": name}, 1)]
    counts = {
        s.labels["file"]: s.value for s in families["lxcfs_py_read_seconds"].samples if s.name.endswith("count")
    }
    assert counts == {file: row["count"] for file, row in found["files"].items()}
    assert families["lxcfs_py_read_seconds"].type == "histogram"
    refused = subprocess.run(
        [BIN / "lxcfs-py", "serve", own.base / "other", "--metrics", "nonsense"],
        env=own.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "HOST:PORT" in refused.stderr


def test_scrapers_disturb_nobody(own: Box, lane: str) -> None:
    """While scrapers hang, never read, send garbage and ask without a pause, no read fails or waits long."""
    port = free_port()
    daemon = own.start_daemon("--metrics", f"127.0.0.1:{port}")
    name = own.start("-m", "64m", "--memory-swap", "64m", "--", "sleep", "1000")
    seconds, end = (5, threading.Event()) if lane == "here" else (20, threading.Event())
    answered = [0]

    def hang(sent: bytes) -> None:
        while not end.is_set():
            with socket.create_connection(("127.0.0.1", port)) as connection:
                try:
                    connection.sendall(sent)
                except OSError:
                    continue
                end.wait(1)

    def hammer() -> None:
        while not end.is_set():
            try:
                scraped(f"127.0.0.1:{port}", own.scale)
            except OSError:
                continue
            answered[0] += 1

    sent = (b"", b"GET /metrics", b"GET /metrics HTTP/1.0\r\n\r\n", b"\xff" * 100_000)
    threads = [threading.Thread(target=hang, args=(each,)) for each in sent * 3] + [threading.Thread(target=hammer)]
    for thread in threads:
        thread.start()
    try:
        reader = own.pyproc("exec", name, "--", "python3", "-c", READER, str(seconds))
        found = told(own)
    finally:
        end.set()
        for thread in threads:
            thread.join()
    count, bad, eio = map(int, reader.stdout.split())
    assert (bad, eio) == (0, 0)
    assert count > 10
    assert answered[0] > 0
    assert found["workers"][0]["errors"] == 0
    scraped(f"127.0.0.1:{port}", own.scale)
    deadline = time.monotonic() + 20 * own.scale
    while len(list(Path(f"/proc/{daemon.pid}/fd").iterdir())) > 60:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_control_socket_is_roots(own: Box) -> None:
    """Nobody but root may ask, not even through a socket whose mode lets them connect."""
    own.start_daemon()
    at = own.base / "run/lxcfs-py"
    script = (
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setresuid(*[int(sys.argv[2])] * 3)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect('control.sock')\n"
        "s.sendall(b'status\\n'); print(len(s.makefile('rb').read()))"
    )

    def answered(user: int) -> tuple[int, str]:
        command = ["python3", "-c", script, str(at), str(user)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr[-60:]

    assert (at / "control.sock").stat().st_mode & 0o777 == 0o600
    code, said = answered(65534)
    assert (code, "PermissionError" in said) == (1, True)
    (at / "control.sock").chmod(0o666)
    code, said = answered(65534)
    assert said == "0\n" or "ConnectionResetError" in said or "BrokenPipeError" in said
    code, said = answered(0)
    assert (code, int(said) > 100) == (0, True)


def test_the_log_as_json(own: Box) -> None:
    """With --log-format json each line is an object; --verbose tells of workers and of new containers, once each."""
    own.start_daemon("--log-format", "json", "--verbose", "--workers", "2")
    name = own.start("--", "sleep", "1000")
    for _ in range(3):
        own.pyproc("exec", name, "--", "cat", f"/{MEMINFO}")
    pid = told(own)["workers"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(own, lambda found: found["workers"][0]["starts"] == 2)
    own.pyproc("exec", name, "--", "cat", f"/{MEMINFO}")
    lines = [json.loads(line) for line in own.log.read_text().splitlines()]
    assert all({"time", "message"} <= line.keys() for line in lines)
    first = [line for line in lines if line["message"] == "first read"]
    others = [line["container"] for line in first if line["container"].partition("@")[0] != name]
    assert len(first) == len(others) + 1
    assert all(
        other.startswith("cgroups:") for other in others
    )  # the daemon's own, by which it sees that it is served
    said = [line["message"] for line in lines if line.get("subject") == "worker 0"]
    assert f"pid {pid} takes the session over" in said
    assert f"pid {pid} has ended: signal 9" in said

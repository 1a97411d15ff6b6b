"""A network without any right on the host: slirp4netns(1)'s, for containers of ordinary users."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live.box import BIN
from tests.live.test_rootless import UID, User, box_of, covered, wait_for, words

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anywhere  # a program's sockets
NETWORK = ("--network", "slirp4netns")
SERVE = ("python3", "-m", "http.server", "-d", "/etc/apt", "80")
GET = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    print(connection.recv(100).decode())
"""


@pytest.fixture(scope="module")
def user(time_scale: float) -> Iterator[User]:
    """Yield a user who may open /dev/net/tun, as on a host with udev."""
    with box_of(User, "lxcfs-py-slirp-", time_scale) as found:
        found.enter, enter = found.root, found.enter
        tun = found.base / "tun"
        found.do("sh", "-c", f"mknod -m 666 {tun} c 10 200 && mount --bind {tun} /dev/net/tun")
        found.enter = enter
        yield found


@pytest.fixture
def mine(user: User) -> Iterator[User]:
    """Yield the box; of a test's containers nothing is left, their programs neither."""
    yield user
    for id_ in user.ids():
        user.pyproc("delete", "--force", id_)
    wait_for(user, lambda: not user.left() and not programs())


def programs() -> list[int]:
    """Return the pids of the programs of the user's containers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if path.stat().st_uid == UID and words(path)[0].endswith("slirp4netns"):
                found.append(int(path.name))
    return found


def free_port() -> int:
    """Return a port nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def served(address: str, text: bytes) -> Iterator[int]:
    """Serve a text on the host; yield the port."""
    with socket.create_server((address, 0)) as server:
        port = int(server.getsockname()[1])
        answer = "import socket, sys\ns = socket.socket(fileno=int(sys.argv[1]))\nwhile 1:\n c, _ = s.accept()\n"
        answer += f" c.sendall({text!r})\n c.close()"
        line = [str(BIN / "python"), "-c", answer, str(server.fileno())]
        process = subprocess.Popen(line, pass_fds=[server.fileno()])
    yield port
    process.kill()
    process.wait()


def own_address() -> str:
    """Return an address of this machine that is not the loopback's; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def test_out_and_in(mine: User) -> None:
    """The host's port leads inside, what is inside gets out, and the host's loopback is out of its reach."""
    port, private = free_port(), free_port()
    published = ("-p", f"{port}:80", "-p", f"127.0.0.1:{private}:80/tcp")
    mine.run("-d", "--name", "web", *NETWORK, *published, "--", *SERVE)
    for each in (port, private):
        wait_for(mine, partial(serves, each))
    lines = mine.pyproc("port", "web").stdout.splitlines()
    assert sorted(lines) == [f"80/tcp -> 0.0.0.0:{port}", f"80/tcp -> 127.0.0.1:{private}"]
    assert f"0.0.0.0:{port}->80/tcp" in mine.pyproc("ps").stdout
    shown = mine.pyproc("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web").stdout
    assert shown == "10.0.2.100\n"
    exec_ = ("exec", "web", "--", "python3", "-c", GET)
    with served(own_address(), b"outside") as at:
        assert mine.pyproc(*exec_, own_address(), str(at)).stdout == "outside\n"
    with served("127.0.0.1", b"loopback") as at:
        refused = mine.pyproc(*exec_, "10.0.2.2", str(at), check=False)
        assert refused.returncode == 1 and "loopback" not in refused.stdout
    names = mine.pyproc("exec", "web", "--", "cat", "/etc/hosts", "/etc/resolv.conf").stdout
    assert "10.0.2.100\tweb\n" in names and "nameserver 10.0.2.3\n" in names
    mine.pyproc("stop", "-t", "0", "web")
    wait_for(mine, lambda: not programs())
    mine.pyproc("start", "web")
    wait_for(mine, partial(serves, port))


def serves(port: int) -> bool:
    """Say whether what the container serves is got at a port of ours."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b""
            while data := connection.recv(4096):
                answer += data
            return b"sources.list" in answer
    except OSError:
        return False


def test_it_ends_with_its_container(mine: User) -> None:
    """Also if who waits for the container is killed."""
    line = mine.command(*NETWORK, "--rm", "--", "sh", "-c", "echo ready; sleep 1000")
    with subprocess.Popen(line, stdin=-3, stdout=subprocess.PIPE, stderr=-3) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        assert len(programs()) == 1
        started.send_signal(signal.SIGKILL)
    wait_for(mine, lambda: not programs())
    mine.run("--rm", *NETWORK, "--", "true")
    wait_for(mine, lambda: not programs())


def test_what_it_refuses(mine: User) -> None:
    """A port somebody has, an address of its own, a program that fails or is not there: said in one line."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        cases = [
            (("-p", f"{port}:80"), f"port {port}/tcp: Address already in use"),
            (("-p", "[::2]:80:80"), "publishes no IPv6 ports"),
            (("--ip", "10.0.2.7"), "--ip with --network slirp4netns: it has one address, and nobody beside it"),
            (("--add-host", "up:host-gateway"), "--add-host up:host-gateway: slirp4netns leads to none"),
        ]
        for options, text in cases:
            refused(mine, text, *options)
    program = "/usr/bin/slirp4netns"
    with covered(mine, program, "#!/bin/sh\necho not today >&2; exit 1\n"):
        refused(mine, "slirp4netns: not today")
    enter = mine.enter
    for where, what, text in (
        (program, "/dev/null", "the program slirp4netns(1) is not installed; apt-get install slirp4netns"),
        ("/dev/net/tun", "/etc/shadow", "let users open /dev/net/tun: chmod 666 /dev/net/tun"),
    ):
        script = f'mount --bind {what} {where} && exec "$@"'
        mine.enter = (*mine.root, "unshare", "--mount", "sh", "-c", script, "sh", *enter[len(mine.root) :])
        try:
            refused(mine, text)
        finally:
            mine.enter = enter


def refused(mine: User, text: str, *options: str) -> None:
    """See that a start is refused so, and leaves nothing."""
    done = mine.run("--rm", *NETWORK, *options, "--", "true", check=False)
    assert (done.returncode, done.stderr.count("\n"), text in done.stderr) == (125, 1, True), done.stderr
    assert os.listdir(mine.inside / str(mine.base / "xdg/pyproc")[1:]) in ([], [".lock"])

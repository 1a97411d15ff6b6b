"""Networks: the host's, and none."""

from __future__ import annotations

import socketserver
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.live.apart import Apart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.live.box import Box

pytestmark = pytest.mark.anywhere  # no driver of cgroups is asked

ADDRESS, NAME, ANSWER = "127.0.0.99", "container.test", "192.0.2.7"


class Answer(socketserver.BaseRequestHandler):
    """Answers every question for an address (RFC 1035); any other has no answer."""

    def handle(self) -> None:
        """Answer one datagram."""
        query, socket = self.request
        end = query.index(b"\0", 12) + 5
        known = query[end - 4 : end - 2] == b"\0\1"
        header = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if known else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + bytes(map(int, ANSWER.split(".")))
        socket.sendto(header + query[12:end] + (record if known else b""), self.client_address)


@pytest.fixture
def apart(tmp_path: Path, time_scale: float) -> Iterator[Apart]:
    """Yield a box whose network is its own, with a name server and a resolv.conf that names it."""
    found = Apart(tmp_path, time_scale, "net")
    found.do("ip", "link", "set", "lo", "up")
    found.cover("/etc/resolv.conf", f"nameserver {ADDRESS}\noptions timeout:5\n".encode())
    server = subprocess.Popen(
        [*found.enter, sys.executable, "-m", "tests.live.test_network"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "serving\n"
    yield found
    server.kill()
    server.wait()
    server.stdout.close()
    found.close()


def test_names_with_the_hosts_network(apart: Apart) -> None:
    """With `--network host` resolv.conf is the host's, and names are resolved by the host's name server."""
    script = f"import socket; print(open('/etc/resolv.conf').read(), socket.gethostbyname('{NAME}'))"
    done = apart.run("--rm", "--proc-view", "off", "--network", "host", "--", "python3", "-c", script)
    assert done.stdout == f"nameserver {ADDRESS}\noptions timeout:5\n {ANSWER}\n"


def test_no_network(clean: Box) -> None:
    """Without a network there is a loopback that works, nothing else, and no name server."""
    script = """
import socket
print([name for _, name in socket.if_nameindex() if name != 'lo' and 'tunl' not in name])
server = socket.create_server(('127.0.0.1', 0))
socket.create_connection(server.getsockname()).close()
print(socket.gethostbyname(socket.gethostname()), socket.gethostbyname('localhost'))
print(repr(open('/etc/resolv.conf').read()))
"""
    done = clean.run("--rm", "--hostname", "me", "--", "python3", "-c", script)
    assert done.stdout == "[]\n127.0.1.1 127.0.0.1\n''\n"


if __name__ == "__main__":
    with socketserver.UDPServer((ADDRESS, 53), Answer) as server:
        print("serving", flush=True)
        server.serve_forever()

"""Pulling from a registry."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest

from tests.images import tree
from tests.live.box import BIN, Box
from tests.live.registry import Registry, free_port
from tests.live.test_images import do, images, layers, store

pytestmark = pytest.mark.anywhere  # images are files


def test_pulling(own: Box, registry: Registry) -> None:
    """What was pushed is what is pulled: the id is printed, the layers hold what they held, nothing else is left."""
    name = f"{registry.address}/app/three:1"
    (id_,) = own.pyproc("pull", *registry.access, name).stdout.split()
    assert images(own) == {name: id_}
    trees = [tree(f"{store(own).layer(layer)}/tree") for layer in layers(own)]
    assert sorted(path for found in trees for path in found) == ["f0", "f1", "f2"]
    (described,) = json.loads(own.pyproc("images", "--json", name).stdout)
    assert (described["config"]["cmd"], described["size_bytes"]) == (["/f0"], 9 << 20)
    assert os.listdir(store(own).incoming) == []
    before = len(registry.served())
    assert json.loads(own.pyproc("pull", "--json", *registry.access, name).stdout) == [{"id": id_, "name": name}]
    assert len(registry.served()) <= before + 1  # the configuration, and no layer again


def test_by_digest(own: Box, registry: Registry) -> None:
    """An image is pulled by the digest of its manifest, and has that for a name."""
    name = f"{registry.address}/app/three"
    access = ("--cert-dir", registry.base / "certs", "--creds", "me:secret")
    digest = json.loads(do("skopeo", "inspect", *access, f"docker://{name}:1"))["Digest"]
    own.pyproc("pull", *registry.access, f"{name}@{digest}")
    assert list(images(own)) == [f"{name}@{digest}"]
    wrong = f"{name}@sha256:{'0' * 64}"
    assert own.pyproc("pull", *registry.access, wrong, check=False).returncode == 1


def test_an_auth_file(own: Box, registry: Registry) -> None:
    """What skopeo login wrote is a way in, too."""
    access = ("--authfile", own.base / "auth.json")
    do(
        "skopeo",
        "login",
        *access,
        "--cert-dir",
        registry.base / "certs",
        "-u",
        "me",
        "-p",
        "secret",
        registry.address,
    )
    certificates = ("--cert-dir", str(registry.base / "certs"))
    own.pyproc("pull", *map(str, access), *certificates, f"{registry.address}/app/three:1")


@pytest.mark.parametrize(
    ("options", "name", "why"),
    [
        (("--creds", "me:secret"), "app/three:1", "certs.d/"),
        (("--creds", "me:wrong", "--tls-verify=false"), "app/three:1", "skopeo login"),
        (("--tls-verify=false",), "app/three:1", "--creds USER"),
        (("--creds", "me:secret", "--tls-verify=false"), "app/three:2", "manifest unknown"),
        (("--creds", "me:secret", "--tls-verify=false"), "app/none", "unknown"),
        (("--creds", "me"), "app/three:1", "no password"),
    ],
)
def test_what_the_registry_does_not_like(
    own: Box, registry: Registry, options: tuple[str, ...], name: str, why: str
) -> None:
    """A wrong certificate, no or wrong credentials, no such image: one line each, that says what to do."""
    done = own.pyproc("pull", *options, f"{registry.address}/{name}", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pyproc: ") and why in done.stderr.splitlines()[-1], done.stderr
    assert not os.path.exists(store(own).images) or os.listdir(store(own).incoming) == []


def test_without_verification(own: Box, registry: Registry) -> None:
    """--tls-verify=false does without a right certificate."""
    own.pyproc("pull", "--creds", "me:secret", "--tls-verify=false", f"{registry.address}/app/three:1")


def test_nobody_there(own: Box) -> None:
    """No registry at that address is one line, too."""
    done = own.pyproc("pull", f"localhost:{free_port()}/x", check=False)
    assert (done.returncode, "and the network up?" in done.stderr, done.stderr.count("\n")) == (1, True, 1)


class Cutter:
    """Passes connections on to a port, and cuts them in the middle of an image.

    The first that brings a mebibyte goes on; the others wait there until a whole blob has arrived, and are cut. So
    is whatever goes beyond the size of two blobs.
    """

    def __init__(self, port: int, blobs: str) -> None:
        self.blobs, self.target = blobs, port
        self.left: float = 7 << 20
        self.first: socket.socket | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _cut(self, client: socket.socket, came: int) -> bool:
        if self.left < 0:
            return True
        if came < 1 << 20 or self.left == math.inf:
            return False
        self.first = self.first or client
        if self.first is client:
            return False
        deadline = time.monotonic() + 60
        while not (os.path.isdir(self.blobs) and os.listdir(self.blobs)) and time.monotonic() < deadline:
            time.sleep(0.01)
        return True

    def _pass(self, client: socket.socket) -> None:
        came = 0
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        data = ready.recv(1 << 16)
                        (server if ready is client else client).sendall(data)
                    except OSError:
                        return
                    if ready is server:
                        came += len(data)
                        self.left -= len(data)
                    if not data or self._cut(client, came):
                        return


def test_a_cut_connection(own: Box, registry: Registry) -> None:
    """After the connection was cut, what had arrived is not fetched again, and the image becomes whole."""
    cutter = Cutter(registry.port, store(own).blobs)
    try:
        name = f"localhost:{cutter.port}/app/three:1"
        access = ("--creds", "me:secret", "--tls-verify=false")
        done = own.pyproc("pull", *access, name, check=False)
        assert done.returncode == 1, "it was to be cut"
        arrived = set(os.listdir(store(own).blobs))
        assert arrived and images(own) == {}
        cutter.left = math.inf
        before = len(registry.served())
        own.pyproc("pull", *access, name)
        again = {digest.removeprefix("sha256:") for digest in registry.served()[before:]}
        assert again and not again & arrived
        assert len(layers(own)) == 3
    finally:
        cutter.listener.close()


def test_interrupted(own: Box, time_scale: float) -> None:
    """Ctrl-C ends a pull with 130, skopeo with it, and leaves nothing that is not for the next attempt."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"localhost:{silent.getsockname()[1]}/app/three:1"
        process = subprocess.Popen([str(BIN / "pyproc"), "pull", *own.places, name], start_new_session=True)
        silent.settimeout(30 * time_scale)
        with silent.accept()[0]:  # and never answer
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(30 * time_scale) == 130
    assert os.listdir(store(own).incoming) == []


def test_a_bar_on_a_terminal(own: Box, registry: Registry) -> None:
    """On a terminal one sees how far it is; the standard output has the id alone."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 120))
    command = [str(BIN / "pyproc"), "pull", *own.places, *registry.access, f"{registry.address}/app/three:1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            seen += os.read(master, 1 << 16)
        except OSError:  # EIO: nobody has it open any more
            break
    os.close(master)
    id_ = process.communicate()[0].decode().strip()
    assert process.returncode == 0
    assert re.fullmatch("[0-9a-f]{64}", id_)
    assert re.search(rb"Copying blob \w+ (done|\[=*)", seen), seen


def test_several_at_once(own: Box, registry: Registry) -> None:
    """Two pulls of one image at once both succeed."""
    command = [str(BIN / "pyproc"), "pull", "-q", *own.places, *registry.access, f"{registry.address}/app/three:1"]
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 2
    assert len(layers(own)) == 3 and len(images(own)) == 1

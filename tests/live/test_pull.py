"""Pulling from a registry and pushing: Debian's docker-registry on loopback, with TLS and basic authentication."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.images import docker_archive, member, tar, tree
from tests.live.box import BIN, Box
from tests.live.test_images import do, images, layers, put, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anywhere  # images are files

HTPASSWD = "me:$2y$05$pikf6wMUNxny/6d5zPVAruY5ZRLavjizP1K6TQUZTtSzy4gZ5cW0G\n"
"""bcrypt of "secret"; htpasswd(1), of another package, wrote it."""
LAYERS = [tar(member(f"f{n}", data=os.urandom(3 << 20))) for n in range(3)]


class Registry:
    """A registry, with what it takes to speak to it."""

    def __init__(self, base: Path, scale: float) -> None:
        self.base, self.port = base, free_port()
        self.address = f"localhost:{self.port}"
        certificate = ("-keyout", base / "key.pem", "-out", base / "ca.crt", "-days", "2", "-subj", "/CN=localhost")
        do("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
           "-nodes", *certificate,
           "-addext", "subjectAltName=DNS:localhost")  # fmt: skip
        (base / "certs").mkdir()
        shutil.copy(base / "ca.crt", base / "certs/ca.crt")
        (base / "htpasswd").write_text(HTPASSWD)
        (base / "config.yml").write_text(
            f"version: 0.1\nlog: {{accesslog: {{disabled: false}}}}\n"
            f"storage: {{filesystem: {{rootdirectory: {base}/data}}}}\n"
            f"http: {{addr: 127.0.0.1:{self.port}, tls: {{certificate: {base}/ca.crt, key: {base}/key.pem}}}}\n"
            f"auth: {{htpasswd: {{realm: here, path: {base}/htpasswd}}}}\n"
        )
        self.log = base / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", base / "config.yml"], stdout=log, stderr=log)
        deadline = time.monotonic() + 30 * scale
        while b"listening on" not in self.log.read_bytes():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    @property
    def access(self) -> tuple[str, ...]:
        """Return pyproc pull's options for it."""
        return ("--cert-dir", str(self.base / "certs"), "--creds", "me:secret")

    def push(self, archive: Path, name: str) -> None:
        """Put an image into it."""
        access = ("--dest-cert-dir", self.base / "certs", "--dest-creds", "me:secret")
        do("skopeo", "copy", *access, f"docker-archive:{archive}", f"docker://{self.address}/{name}")

    def served(self) -> list[str]:
        """Return the digests of the blobs that were asked for so far."""
        return re.findall(r'"GET /v2/[^"]*/blobs/(sha256:\w+) HTTP', self.log.read_text())


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, time_scale: float) -> Iterator[Registry]:
    """Yield a registry with the image ``app/three:1`` of three layers."""
    found = Registry(tmp_path_factory.mktemp("registry"), time_scale)
    (found.base / "three.tar").write_bytes(docker_archive(LAYERS, "three", Cmd=["/f0"]))
    found.push(found.base / "three.tar", "app/three:1")
    yield found
    found.process.terminate()
    found.process.wait()


@pytest.fixture
def box(tmp_path: Path, time_scale: float) -> Box:
    """Return a box without a daemon, for its storage."""
    return Box(tmp_path, time_scale)


def test_pulling(box: Box, registry: Registry) -> None:
    """What was pushed is what is pulled: the id is printed, the layers hold what they held, nothing else is left."""
    name = f"{registry.address}/app/three:1"
    (id_,) = box.pyproc("pull", *registry.access, name).stdout.split()
    assert images(box) == {name: id_}
    trees = [tree(f"{store(box).layer(layer)}/tree") for layer in layers(box)]
    assert sorted(path for found in trees for path in found) == ["f0", "f1", "f2"]
    (described,) = json.loads(box.pyproc("images", "--json", name).stdout)
    assert (described["config"]["cmd"], described["size_bytes"]) == (["/f0"], 9 << 20)
    assert os.listdir(store(box).incoming) == []
    before = len(registry.served())
    assert json.loads(box.pyproc("pull", "--json", *registry.access, name).stdout) == [{"id": id_, "name": name}]
    assert len(registry.served()) <= before + 1  # the configuration, and no layer again


def test_by_digest(box: Box, registry: Registry) -> None:
    """An image is pulled by the digest of its manifest, and has that for a name."""
    name = f"{registry.address}/app/three"
    access = ("--cert-dir", registry.base / "certs", "--creds", "me:secret")
    digest = json.loads(do("skopeo", "inspect", *access, f"docker://{name}:1"))["Digest"]
    box.pyproc("pull", *registry.access, f"{name}@{digest}")
    assert list(images(box)) == [f"{name}@{digest}"]
    wrong = f"{name}@sha256:{'0' * 64}"
    assert box.pyproc("pull", *registry.access, wrong, check=False).returncode == 1


def test_an_auth_file(box: Box, registry: Registry) -> None:
    """What skopeo login wrote is a way in, too."""
    access = ("--authfile", box.base / "auth.json")
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
    box.pyproc("pull", *map(str, access), *certificates, f"{registry.address}/app/three:1")


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
    box: Box, registry: Registry, options: tuple[str, ...], name: str, why: str
) -> None:
    """A wrong certificate, no or wrong credentials, no such image: one line each, that says what to do."""
    done = box.pyproc("pull", *options, f"{registry.address}/{name}", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pyproc: ") and why in done.stderr.splitlines()[-1], done.stderr
    assert not os.path.exists(store(box).images) or os.listdir(store(box).incoming) == []


def test_without_verification(box: Box, registry: Registry) -> None:
    """--tls-verify=false does without a right certificate."""
    box.pyproc("pull", "--creds", "me:secret", "--tls-verify=false", f"{registry.address}/app/three:1")


def test_nobody_there(box: Box) -> None:
    """No registry at that address is one line, too."""
    done = box.pyproc("pull", f"localhost:{free_port()}/x", check=False)
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


def test_a_cut_connection(box: Box, registry: Registry) -> None:
    """After the connection was cut, what had arrived is not fetched again, and the image becomes whole."""
    cutter = Cutter(registry.port, store(box).blobs)
    try:
        name = f"localhost:{cutter.port}/app/three:1"
        access = ("--creds", "me:secret", "--tls-verify=false")
        done = box.pyproc("pull", *access, name, check=False)
        assert done.returncode == 1, "it was to be cut"
        arrived = set(os.listdir(store(box).blobs))
        assert arrived and images(box) == {}
        cutter.left = math.inf
        before = len(registry.served())
        box.pyproc("pull", *access, name)
        again = {digest.removeprefix("sha256:") for digest in registry.served()[before:]}
        assert again and not again & arrived
        assert len(layers(box)) == 3
    finally:
        cutter.listener.close()


def test_interrupted(box: Box, time_scale: float) -> None:
    """Ctrl-C ends a pull with 130, skopeo with it, and leaves nothing that is not for the next attempt."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"localhost:{silent.getsockname()[1]}/app/three:1"
        process = subprocess.Popen([str(BIN / "pyproc"), "pull", *box.places, name], start_new_session=True)
        silent.settimeout(30 * time_scale)
        with silent.accept()[0]:  # and never answer
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(30 * time_scale) == 130
    assert os.listdir(store(box).incoming) == []


def test_a_bar_on_a_terminal(box: Box, registry: Registry) -> None:
    """On a terminal one sees how far it is; the standard output has the id alone."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 120))
    command = [str(BIN / "pyproc"), "pull", *box.places, *registry.access, f"{registry.address}/app/three:1"]
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


def test_several_at_once(box: Box, registry: Registry) -> None:
    """Two pulls of one image at once both succeed."""
    command = [str(BIN / "pyproc"), "pull", "-q", *box.places, *registry.access, f"{registry.address}/app/three:1"]
    running = [
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 2
    assert len(layers(box)) == 3 and len(images(box)) == 1


def test_pushing(box: Box, registry: Registry) -> None:
    """An image that was made here goes into a registry, under its own name or another, and comes back as the same."""
    layer = tar(member("own", data=os.urandom(1 << 20)))
    (id_,) = box.pyproc("import", put(box, "t", docker_archive([layer], "mine"))).stdout.split()
    name = f"{registry.address}/mine:1"
    digest = box.pyproc("push", *registry.access, "mine", name).stdout.strip()
    access = ("--cert-dir", registry.base / "certs", "--creds", "me:secret")
    assert json.loads(do("skopeo", "inspect", *access, f"docker://{name}"))["Digest"] == digest
    box.pyproc("tag", "mine", f"{registry.address}/mine:2")
    found = json.loads(box.pyproc("push", "--json", *registry.access, f"{registry.address}/mine:2").stdout)
    assert (found["id"], found["name"], found["digest"][:7]) == (id_, f"{registry.address}/mine:2", "sha256:")
    sent = re.findall(r'"PUT /v2/mine/blobs/', registry.log.read_text())
    assert len(sent) == 2, "the layer and the configuration, once"
    box.pyproc("rmi", "-f", id_)
    assert box.pyproc("pull", *registry.access, f"{registry.address}/mine:2").stdout.strip() == id_
    assert os.listdir(store(box).incoming) == []


@pytest.mark.parametrize(
    ("options", "words", "why"),
    [
        (("--creds", "me:secret"), ("mine", "HERE/x:1"), "certs.d/"),
        (("--creds", "me:wrong", "--tls-verify=false"), ("mine", "HERE/x:1"), "skopeo login"),
        ((), ("none", "HERE/x:1"), "is not here"),
        ((), ("nameless",), "under which name?"),
        ((), ("mine", "HERE/X:1"), "write "),
    ],
)
def test_pushes_that_fail(
    box: Box, registry: Registry, options: tuple[str, ...], words: tuple[str, ...], why: str
) -> None:
    """A wrong certificate or credentials, no such image, no name: one line each, and nothing is left."""
    box.pyproc("import", put(box, "t", docker_archive(LAYERS[:1], "mine")))
    nameless = box.pyproc("import", put(box, "n", docker_archive(LAYERS[1:2]))).stdout.strip()
    text = [word.replace("HERE", registry.address).replace("nameless", nameless) for word in words]
    done = box.pyproc("push", *options, *text, check=False)
    assert done.returncode in (1, 125) and why in done.stderr.splitlines()[-1], done.stderr
    assert os.listdir(store(box).incoming) == []

"""A registry on loopback: Debian's docker-registry, with TLS and basic authentication."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tests.live.test_images import do

if TYPE_CHECKING:
    from pathlib import Path

HTPASSWD = "me:$2y$05$pikf6wMUNxny/6d5zPVAruY5ZRLavjizP1K6TQUZTtSzy4gZ5cW0G\n"
"""bcrypt of "secret"; htpasswd(1), of another package, wrote it."""


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

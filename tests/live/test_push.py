"""Pushing to a registry."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.images import docker_archive, member, tar
from tests.live.test_images import do, put, store

if TYPE_CHECKING:
    from tests.live.box import Box
    from tests.live.registry import Registry

pytestmark = pytest.mark.anywhere  # images are files


def test_pushing(own: Box, registry: Registry) -> None:
    """An image that was made here goes into a registry, under its own name or another, and comes back as the same."""
    layer = tar(member("own", data=os.urandom(1 << 20)))
    (id_,) = own.pyproc("import", put(own, "t", docker_archive([layer], "mine"))).stdout.split()
    name = f"{registry.address}/mine:1"
    digest = own.pyproc("push", *registry.access, "mine", name).stdout.strip()
    access = ("--cert-dir", registry.base / "certs", "--creds", "me:secret")
    assert json.loads(do("skopeo", "inspect", *access, f"docker://{name}"))["Digest"] == digest
    own.pyproc("tag", "mine", f"{registry.address}/mine:2")
    found = json.loads(own.pyproc("push", "--json", *registry.access, f"{registry.address}/mine:2").stdout)
    assert (found["id"], found["name"], found["digest"][:7]) == (id_, f"{registry.address}/mine:2", "sha256:")
    sent = re.findall(r'"PUT /v2/mine/blobs/', registry.log.read_text())
    assert len(sent) == 2, "the layer and the configuration, once"
    own.pyproc("rmi", "-f", id_)
    assert own.pyproc("pull", *registry.access, f"{registry.address}/mine:2").stdout.strip() == id_
    assert os.listdir(store(own).incoming) == []


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
    own: Box, registry: Registry, options: tuple[str, ...], words: tuple[str, ...], why: str
) -> None:
    """A wrong certificate or credentials, no such image, no name: one line each, and nothing is left."""
    own.pyproc("import", put(own, "t", docker_archive([tar(member("a"))], "mine")))
    nameless = own.pyproc("import", put(own, "n", docker_archive([tar(member("b"))]))).stdout.strip()
    text = [word.replace("HERE", registry.address).replace("nameless", nameless) for word in words]
    done = own.pyproc("push", *options, *text, check=False)
    assert done.returncode in (1, 125) and why in done.stderr.splitlines()[-1], done.stderr
    assert os.listdir(store(own).incoming) == []

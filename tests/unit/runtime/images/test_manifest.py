"""Indexes, manifests and configurations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.images import manifest
from runtime.images.manifest import Config, Descriptor

D = "sha256:" + "1" * 64
CONFIG = {"mediaType": manifest.CONFIG, "digest": D, "size": 3}
LAYER = {"mediaType": manifest.LAYER, "digest": D, "size": 4}


def text(value: object) -> bytes:
    """Return it as JSON."""
    return json.dumps(value).encode()


def test_a_manifest() -> None:
    """A manifest gives its configuration and layers, and is written as it was read; Docker's types count too."""
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    found = manifest.manifest(text({"config": CONFIG, "layers": [LAYER, {**LAYER, "mediaType": docker}]}), "it")
    assert (found.config.digest, found.config.size_bytes) == (D, 3)
    assert [layer.media_type for layer in found.layers] == [manifest.LAYER, docker]
    assert manifest.manifest(manifest.manifest_text(found), "again") == found


@pytest.mark.parametrize(
    "value",
    [
        [], {}, {"layers": []}, {"config": CONFIG, "layers": None}, {"config": {**CONFIG, "size": -1}, "layers": []},
        {"config": {**CONFIG, "digest": "sha512:1"}, "layers": []},
        {"config": {**CONFIG, "size": True}, "layers": []},
        {"config": {**CONFIG, "digest": "sha256:../../../../etc/passwd"}, "layers": []},
        {"config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": []},
        {"config": CONFIG, "layers": [{**LAYER, "mediaType": "text/html"}]}, {"config": CONFIG, "layers": [7]},
        {"schemaVersion": 1, "fsLayers": []}, {"config": CONFIG, "layers": [LAYER] * 126},
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(value: object) -> None:
    """Another artifact, a digest that would be a path, too many layers: an Error that names what was read."""
    with pytest.raises(Error, match=r"^the file: "):
        manifest.manifest(text(value), "the file")


def test_a_configuration() -> None:
    """What an image says of its process, with Go's nulls, lone strings and sets as objects."""
    value = {
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": {
            "Entrypoint": None,
            "Cmd": "sh",
            "Env": ["A=1"],
            "Volumes": {"/b": {}, "/a": {}},
            "Labels": {"x": "y"},
        },
        "rootfs": {"diff_ids": [D]},
    }
    found = manifest.image(text(value), "it")
    assert found.config == Config(cmd=("sh",), env=("A=1",), volumes=("/a", "/b"), labels={"x": "y"})
    assert (found.diff_ids, found.created) == ((D,), "2024-01-02T03:04:05Z")


@pytest.mark.parametrize(
    "value",
    [{"config": []}, {"config": {"Cmd": [1]}}, {"config": {"User": 1}}, {"rootfs": {"diff_ids": ["x"]}},
     {"config": {"Env": ["A=\0"]}}, {"config": {"Volumes": ["/a"]}}, {"os": 1}],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(value: object) -> None:
    """A value of another type is an Error, before anything is made of it."""
    with pytest.raises(Error, match=r"^it"):
        manifest.image(text(value), "it")


def platform(system: str, architecture: str) -> Descriptor:
    """Return an entry for a platform."""
    return Descriptor(manifest.MANIFEST, D, 1, platform=(system, architecture, ""))


def test_choosing_a_platform() -> None:
    """The entry for this machine is chosen; if there is none, the Error tells those there are."""
    entries = (platform("linux", "arm64"), platform("linux", "amd64"), platform("windows", "amd64"))
    assert manifest.choose(entries, "amd64", "it") is entries[1]
    with pytest.raises(Error, match=r"no image for linux/s390x.*linux/amd64, linux/arm64, windows/amd64"):
        manifest.choose(entries, "s390x", "it")
    unsaid = platform("", "")
    assert manifest.choose((unsaid,), "s390x", "it") is unsaid


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(D),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["config", "layers", "manifests", "digest", "size", "mediaType", "rootfs", "diff_ids", "Env",
                         "Cmd", "platform", "annotations", "x"]), inner),
)  # fmt: skip


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    """Whatever somebody's JSON holds, reading it gives records or an Error."""
    for read in (manifest.index, manifest.manifest, manifest.image):
        try:
            read(text(value), "it")
        except Error:
            continue

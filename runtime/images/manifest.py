"""Indexes, manifests and configurations of images: bytes in, records out (OCI image-spec v1.1; Docker's schema 2).

Whatever is in them was written by somebody else: each function checks what it returns, and raises an Error that names
``what`` it was reading.
"""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from lxcfs_py.record import Record
from runtime.images.reference import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
CONFIGS = (CONFIG, "application/vnd.docker.container.image.v1+json")
LAYERS = (
    "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar",
)  # fmt: skip
"""What the media type of a layer begins with; its compression is read off its first bytes."""
NAME = "org.opencontainers.image.ref.name"
"""The annotation of an index's entry that names the image (annotations.md)."""
CHAINS = "io.pyproc.layers"
"""Our annotation: the chain ids of the layers, the base first, parted by blanks."""
MAX_LAYERS = 125
"""Docker's limit; overlayfs itself takes 500."""
MAX_TEXT_BYTES = 4 << 20
"""Of a manifest or configuration, as registries limit them."""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le"}
"""Go's names of the machines of uname(2), where they differ or matter."""


class Descriptor(Record):
    """A pointer to content (descriptor.md)."""

    media_type: str
    digest: str
    size_bytes: int
    annotations: Mapping[str, str] = {}
    platform: tuple[str, str, str] = ("", "", "")
    """System, architecture and variant, "" where it does not say."""

    def json(self) -> dict[str, Any]:
        """Return it as it is written down."""
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        return {**found, "annotations": dict(self.annotations)} if self.annotations else found


class Manifest(Record):
    """One image: its configuration and its layers, the base first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Config(Record):
    """What an image says about the process to be run (config.md, "config")."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    labels: Mapping[str, str] = {}
    ports: tuple[str, ...] = ()


class Image(Record):
    """An image's configuration file."""

    config: Config
    diff_ids: tuple[str, ...]
    """The digests of the layers' tars, uncompressed, the base first."""
    system: str
    architecture: str
    created: str = ""
    """RFC 3339, "" where it does not say."""


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json_text.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _bad(what, "not a JSON object")
    return found


def _bad(what: str, why: str) -> Error:
    return Error(f"{what}: {why}", "the image is damaged or not an OCI or Docker image")


def _strings(value: object, what: str) -> tuple[str, ...]:
    """Return a list of strings; null is none, and a lone string is a list of it (Docker's StrSlice)."""
    found = [value] if isinstance(value, str) else value if value is not None else []
    if not isinstance(found, list) or not all(isinstance(item, str) and "\0" not in item for item in found):
        raise _bad(what, "not a list of strings")
    return tuple(found)


def _string(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise _bad(what, "not a string")
    return value


def _mapping(value: object, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _bad(what, "not an object")
    return value


def _texts(value: object, what: str) -> dict[str, str]:
    return {key: text for key, text in _mapping(value, what).items() if isinstance(text, str)}


def descriptor(value: object, what: str) -> Descriptor:
    """Return a descriptor; raises an Error for another digest than SHA-256, or a size that is none."""
    found = _mapping(value, what)
    digest, size = found.get("digest"), found.get("size")
    if not is_digest(digest):
        raise _bad(what, f"{digest!r} is not a SHA-256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _bad(what, f"{size!r} is not a size")
    place = _mapping(found.get("platform"), f"{what}: platform")
    platform = tuple(_string(place.get(key), what) for key in ("os", "architecture", "variant"))
    kind = _string(found.get("mediaType"), f"{what}: mediaType")
    annotations = _texts(found.get("annotations"), f"{what}: annotations")
    return Descriptor(kind, str(digest), size, annotations, (platform[0], platform[1], platform[2]))


def index(data: bytes, what: str) -> tuple[Descriptor, ...]:
    """Return the entries of an index."""
    entries = _object(data, what).get("manifests")
    if not isinstance(entries, list):
        raise _bad(what, "an index without manifests")
    return tuple(descriptor(entry, what) for entry in entries)


def index_text(entries: Iterable[Descriptor]) -> bytes:
    """Return an index as it is written down."""
    return json_text.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry.json() for entry in entries]})


def manifest(data: bytes, what: str) -> Manifest:
    """Return a manifest; raises an Error for an artifact that is no image."""
    found = _object(data, what)
    if "config" not in found or not isinstance(found.get("layers"), list):
        old = " (schema 1)" if found.get("schemaVersion") == 1 else ""
        raise _bad(what, f"not the manifest of an image{old}")
    config = descriptor(found["config"], f"{what}: config")
    layers = tuple(descriptor(layer, f"{what}: layers") for layer in found["layers"])
    if config.media_type not in CONFIGS:
        raise _bad(what, f"{config.media_type!r} is not the configuration of an image")
    for layer in layers:
        if not layer.media_type.startswith(LAYERS):
            raise _bad(what, f"{layer.media_type!r} is not the type of a layer")
    if len(layers) > MAX_LAYERS:
        raise _bad(what, f"{len(layers)} layers, more than {MAX_LAYERS}")
    return Manifest(config, layers)


def manifest_text(found: Manifest) -> bytes:
    """Return a manifest as it is written down."""
    layers = [layer.json() for layer in found.layers]
    return json_text.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": found.config.json(), "layers": layers}
    )


def image(data: bytes, what: str) -> Image:
    """Return an image's configuration."""
    found = _object(data, what)
    inner = _mapping(found.get("config"), f"{what}: config")
    rootfs = _mapping(found.get("rootfs"), f"{what}: rootfs")
    diff_ids = _strings(rootfs.get("diff_ids"), f"{what}: diff_ids")
    if not all(map(is_digest, diff_ids)):
        raise _bad(what, "a diff_id is not a SHA-256 digest")
    config = Config(
        entrypoint=_strings(inner.get("Entrypoint"), f"{what}: Entrypoint"),
        cmd=_strings(inner.get("Cmd"), f"{what}: Cmd"),
        env=_strings(inner.get("Env"), f"{what}: Env"),
        user=_string(inner.get("User"), f"{what}: User"),
        workdir=_string(inner.get("WorkingDir"), f"{what}: WorkingDir"),
        volumes=tuple(sorted(_mapping(inner.get("Volumes"), f"{what}: Volumes"))),
        stop_signal=_string(inner.get("StopSignal"), f"{what}: StopSignal"),
        labels=_texts(inner.get("Labels"), f"{what}: Labels"),
        ports=tuple(sorted(_mapping(inner.get("ExposedPorts"), f"{what}: ExposedPorts"))),
    )
    return Image(
        config,
        diff_ids,
        _string(found.get("os"), f"{what}: os"),
        _string(found.get("architecture"), f"{what}: architecture"),
        _string(found.get("created"), f"{what}: created"),
    )


def machine() -> str:
    """Return Go's name of this machine."""
    name = os.uname().machine
    return ARCHITECTURES.get(name, name)


def choose(entries: Sequence[Descriptor], architecture: str, what: str) -> Descriptor:
    """Return the manifest for Linux on that architecture; one that does not say what it is for will do."""
    images = [entry for entry in entries if entry.media_type in (*MANIFESTS, *INDEXES)]
    fitting = [entry for entry in images if entry.platform[:2] in (("linux", architecture), ("", ""))]
    if not fitting:
        there = ", ".join(sorted({"/".join(filter(None, entry.platform)) for entry in images})) or "none"
        raise Error(f"{what}: no image for linux/{architecture}", f"there are: {there}")
    return fitting[0]

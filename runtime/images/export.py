"""Writes an image to an archive that others read: OCI's, or ``docker save``'s; the same image, the same bytes."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from runtime.images import catalog, manifest
from runtime.images.manifest import NAME
from runtime.images.store import LAYOUT
from runtime.images.stream import CHUNK, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from tarfile import TarFile
    from typing import IO

    from _typeshed import SupportsRead

    from runtime.images.manifest import Descriptor
    from runtime.images.progress import Progress
    from runtime.images.store import Store

OCI, DOCKER = "oci-archive", "docker-archive"


class Pieces:
    """What ``tarfile`` reads a member from, of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, size: int = -1) -> bytes:
        """Return that many bytes, fewer at the end."""
        while len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _add(tar: TarFile, name: str, size: int, content: SupportsRead[bytes]) -> None:
    import tarfile

    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    tar.addfile(info, content)


def _add_text(tar: TarFile, name: str, data: bytes) -> None:
    _add(tar, name, len(data), Pieces(iter((data,))))


def export(store: Store, entries: Iterable[Descriptor], kind: str, out: IO[bytes], progress: Progress) -> None:
    """Write the image under all the names of ``entries``, which are of one image; ``kind`` is OCI or DOCKER."""
    import tarfile

    named = list(entries)
    contents = manifest.manifest(store.read(named[0].digest), f"manifest {named[0].digest}")
    with store.shared(), tarfile.TarFile(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, copybufsize=CHUNK) as tar:
        (_oci if kind == OCI else _docker)(store, named, contents, tar, progress)
    progress.end()


def _oci(
    store: Store, named: list[Descriptor], contents: manifest.Manifest, tar: TarFile, progress: Progress
) -> None:
    _add_text(tar, "oci-layout", LAYOUT)
    public = [
        entry.replace(annotations={NAME: catalog.name(entry)} if catalog.name(entry) else {}) for entry in named
    ]
    _add_text(tar, "index.json", manifest.index_text(public))
    for digest in sorted({named[0].digest, contents.config.digest, *(layer.digest for layer in contents.layers)}):
        path = store.blob(digest)
        progress.begin(f"writing {digest[7:19]}", os.path.getsize(path))
        with open(path, "rb") as file:
            _add(tar, f"blobs/sha256/{digest[7:]}", os.path.getsize(path), file)


def _docker(
    store: Store, named: list[Descriptor], contents: manifest.Manifest, tar: TarFile, progress: Progress
) -> None:
    """Docker reads layers uncompressed, and its names without a digest."""
    layers = []
    for layer, chain in zip(contents.layers, catalog.chains(named[0]), strict=True):
        about = store.about(chain)
        name = f"{about['diff_id'].removeprefix('sha256:')}.tar"
        if name not in layers:
            progress.begin(f"writing {name[:12]}")
            with Stream(store.blob(layer.digest), f"layer {layer.digest}", progress) as stream:
                _add(tar, name, about["tar_bytes"], Pieces(stream.pieces(about["tar_bytes"])))
        layers.append(name)
    config = f"{contents.config.digest.removeprefix('sha256:')}.json"
    _add_text(tar, config, store.read(contents.config.digest))
    tags = [catalog.name(entry) for entry in named if catalog.name(entry) and "@" not in catalog.name(entry)]
    found = [{"Config": config, "RepoTags": tags, "Layers": layers}]
    _add_text(tar, "manifest.json", json_text.dumps(found))

"""What can be imported, known by its content: docker-archive, OCI layout (directory, archive), a root's tar."""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from runtime.errors import RunError
from runtime.images import add, change, manifest, reference, stream
from runtime.images.archive import Archive, Directory
from runtime.images.manifest import CONFIG, LAYER, Descriptor, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from runtime.images.progress import Progress
    from runtime.images.store import Store

DOCKER, OCI, ROOTFS = "docker-archive", "oci", "rootfs"
FIXED = {"manifest.json": DOCKER, "oci-layout": OCI}
"""The files that say what an archive is; what Docker writes is both, and has its names in the first."""
CONTAINERD_NAME = "io.containerd.image.name"
KEPT = ("", "gzip", "zstd")
"""The compressions of layers that OCI knows: others are undone."""


def shape(names: Iterable[str]) -> str:
    """Return what an archive of these files is; looks no further than to the first that is no image archive's."""
    kinds = set()
    for name in names:
        first, _, rest = name.removeprefix("./").strip("/").partition("/")
        if name.strip("./") in FIXED:
            kinds.add(FIXED[name.strip("./")])
        elif first == "blobs" or (first in ("index.json", "repositories", "") and not rest):
            continue
        elif not (first.endswith((".json", ".tar")) and not rest) and not _is_id(first):
            return ROOTFS
    return DOCKER if DOCKER in kinds else OCI if OCI in kinds else ROOTFS


def _is_id(name: str) -> bool:
    return len(name) == 64 and set(name) <= reference.HEX


def _ours(layer: str, program: str) -> str:
    return f"{layer}+{program}" if program else layer


def oci_name(entry: Descriptor, place: str) -> str:
    """Return the complete name of an entry of somebody's index, "" if it has none.

    A bare word is a tag, as image-layout.md means it, and the name of the directory or archive goes before it.
    """
    text = entry.annotations.get(CONTAINERD_NAME) or entry.annotations.get(manifest.NAME, "")
    if text and not set(text) & set("/:@"):
        text = f"localhost/{os.path.basename(os.path.abspath(place)).partition('.')[0].lower()}:{text}"
    try:
        return str(reference.parse(text)) if text else ""
    except RunError:
        return ""


def _layer_name(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


class Import:
    """One import into a store; ``called`` is the name that is asked for, "" for the image's own.

    ``changes`` (``change.apply``) and ``message`` are for a root's tar, which says nothing of itself.
    """

    def __init__(
        self, store: Store, called: str, progress: Progress, changes: Sequence[str] = (), message: str = ""
    ) -> None:
        self.store, self.progress = store, progress
        self.said, self.message = change.apply({}, changes), message
        self.called = str(reference.parse(called)) if called else ""

    def run(self, path: str) -> list[str]:
        """Import what is at a path (``-``: the standard input) and return the ids; the store's lock is taken."""
        with self.store.shared():
            if os.path.isdir(path):
                if not os.path.isfile(f"{path}/oci-layout"):
                    hint = f"for a root file system: tar -C {path} -c . | pyproc import - NAME"
                    raise Error(f"{path}: not an OCI layout", hint)
                return self._oci(Directory(path), path)
            plain = ""
            try:
                what = path
                if path == "-" or (os.path.exists(path) and not os.path.isfile(path)):  # <(...) of a shell
                    what = "standard input" if path == "-" else path
                    path = plain = self._spool("" if path == "-" else path)
                return self._file(path, what)
            finally:
                if plain:
                    os.unlink(plain)

    def _spool(self, pipe: str) -> str:
        """Write what comes through a pipe, "" for the standard input, to a file, and return its path."""
        path = self.store.temporary()
        with open(path, "xb") as file, open(pipe or 0, "rb", closefd=bool(pipe)) as source:
            while data := source.read(stream.CHUNK):
                file.write(data)
        return path

    def _file(self, path: str, what: str) -> list[str]:
        try:
            with stream.Stream(path, what, hashed=False) as tar:
                kind, program = shape(info.name for info in tar.entries()), tar.program
        except OSError as error:
            raise Error(reason(error), "name a file that can be read") from error
        if kind != ROOTFS and (self.said or self.message):
            hint = "leave it out; pyproc-run it and pyproc commit --change make another image"
            raise Error(f"{what}: --change and --message are for a root's tar, and this is an image", hint)
        if kind == ROOTFS:
            return [self._rootfs(path, what, program)]
        plain = self._expanded(path, what) if program else ""
        try:
            archive = Archive(plain or path, what)
            try:
                return self._docker(archive) if kind == DOCKER else self._oci(archive, what)
            finally:
                archive.close()
        finally:
            if plain:
                os.unlink(plain)

    def _expanded(self, path: str, what: str) -> str:
        plain = self.store.temporary()
        with stream.Stream(path, what) as source, open(plain, "xb") as file:
            for data in source.pieces(source.limit + 1, short=True):
                file.write(data)
            source.finish()
        return plain

    def _put(
        self, source: Archive | Directory, name: str, kind: str, expected: Descriptor | None = None
    ) -> Descriptor:
        """Copy a blob unless it is there, and return its descriptor."""
        if expected is not None and os.path.exists(self.store.blob(expected.digest)):
            return expected
        what = f"{source.what}: {name}"
        pieces = self._watched(source.pieces(name), expected.size_bytes if expected else 0)
        digest, size = self.store.put(pieces, what, expected)
        return expected or Descriptor(kind, digest, size)

    def _watched(self, pieces: Iterable[bytes], whole: int) -> Iterator[bytes]:
        done = 0
        self.progress.begin("reading", whole)
        for piece in pieces:
            yield piece
            done += len(piece)
            self.progress.at(done)

    def _oci(self, source: Archive | Directory, place: str) -> list[str]:
        what = f"{source.what}: index.json"
        entries = manifest.index(source.text("index.json"), what)
        if not entries:
            raise Error(f"{what}: no image in it", "name another")
        by_name: dict[str, list[Descriptor]] = {}
        for entry in entries:
            by_name.setdefault(oci_name(entry, place), []).append(entry)
        if self.called:
            if len(by_name) > 1:
                there = ", ".join(filter(None, by_name))
                raise Error(f"{what}: several images ({there}) can't have one name", "leave the name out")
            by_name = {self.called: list(entries)}
        return list(dict.fromkeys(self._oci_image(source, found, name) for name, found in by_name.items()))

    def _oci_image(self, source: Archive | Directory, entries: Sequence[Descriptor], name: str) -> str:
        found = manifest.choose(entries, manifest.machine(), source.what)
        while found.media_type in manifest.INDEXES:
            where = _layer_name(found.digest)
            self._put(source, where, "", found)
            data = self.store.read(found.digest)
            found = manifest.choose(manifest.index(data, where), manifest.machine(), source.what)
        self._put(source, _layer_name(found.digest), "", found)
        contents = manifest.manifest(self.store.read(found.digest), f"{source.what}: manifest {found.digest}")
        for blob in (contents.config, *contents.layers):
            self._put(source, _layer_name(blob.digest), "", blob)
        return add.add(self.store, found, (name,), self.progress)

    def _docker(self, source: Archive) -> list[str]:
        what = f"{source.what}: manifest.json"
        try:
            found = json_text.loads(source.text("manifest.json"))
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(map(_is_docker, found)):
            raise Error(f"{what}: not what docker save writes", "get the archive again")
        if self.called and len(found) > 1:
            raise Error(f"{what}: {len(found)} images can't have one name", "leave the name out")
        return [self._docker_image(source, item) for item in found]

    def _docker_image(self, source: Archive, item: dict[str, Any]) -> str:
        config = self._put(source, item["Config"], CONFIG)
        layers = []
        for name in item["Layers"]:
            layer = self._put(source, name, LAYER)
            layers.append(layer.replace(media_type=_ours(LAYER, self._program(layer.digest))))
        names = (
            (self.called,) if self.called else tuple(str(reference.parse(tag)) for tag in item.get("RepoTags") or ())
        )
        return self._add(config, layers, names)

    def _program(self, digest: str) -> str:
        with open(self.store.blob(digest), "rb") as file:
            return stream.compression(file.read(6))

    def _rootfs(self, path: str, what: str, program: str) -> str:
        """Make an image of one layer; what it says of itself is as little as ``docker import`` does."""
        size = os.stat(path).st_size
        if program in KEPT:
            with open(path, "rb") as file:
                digest, size = self.store.put(self._watched(iter(lambda: file.read(stream.CHUNK), b""), size), what)
        else:
            program, plain = "", self._expanded(path, what)
            try:
                with open(plain, "rb") as file:
                    digest, size = self.store.put(iter(lambda: file.read(stream.CHUNK), b""), what)
            finally:
                os.unlink(plain)
        diff_id = digest
        if program:
            with stream.Stream(self.store.blob(digest), what) as tar:
                diff_id = tar.finish()
        text = json_text.dumps(
            {
                "architecture": manifest.machine(),
                "os": "linux",
                "config": self.said,
                **({"history": [{"comment": self.message}]} if self.message else {}),
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            }
        )
        config = Descriptor(CONFIG, *self.store.put_text(text, what))
        names = (self.called,) if self.called else ()
        return self._add(config, [Descriptor(_ours(LAYER, program), digest, size)], names)

    def _add(self, config: Descriptor, layers: Sequence[Descriptor], names: Sequence[str]) -> str:
        text = manifest.manifest_text(Manifest(config, tuple(layers)))
        found = Descriptor(manifest.MANIFEST, *self.store.put_text(text, "manifest"))
        return add.add(self.store, found, names, self.progress)


def _is_docker(item: object) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("Config"), str):
        return False
    lists = (item.get("Layers"), item.get("RepoTags") or [])
    return all(isinstance(found, list) and all(isinstance(text, str) for text in found) for found in lists)

"""Archives made by hand, and trees told as values, for the tests of images."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TYPES = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def member(name: str, kind: str = "file", data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return an entry: ours by owner, time 0, and what ``fields`` says (of TarInfo)."""
    info = tarfile.TarInfo(name)
    info.type = TYPES[kind]
    info.size = len(data)
    info.mode = 0o755 if kind == "dir" else 0o644
    info.uid, info.gid = os.getuid(), os.getgid()
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar of them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return out.getvalue()


def digest(data: bytes) -> str:
    """Return its digest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def configuration(layers: Iterable[bytes], **config: Any) -> bytes:
    """Return the configuration of an image of these tars."""
    rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    return json.dumps({"os": "linux", "architecture": "amd64", "config": config, "rootfs": rootfs}).encode()


def docker_archive(layers: list[bytes], *tags: str, **config: Any) -> bytes:
    """Return what ``docker save`` writes of an image."""
    return docker_archives(layers, [(tags, config)])


def docker_archives(layers: list[bytes], images: Iterable[tuple[Iterable[str], dict[str, Any]]]) -> bytes:
    """Return what ``docker save`` writes of images, each with its tags, that have the same layers."""
    names = [f"{digest(layer)[7:]}/layer.tar" for layer in layers]
    files, items = {}, []
    for tags, config in images:
        text = configuration(layers, **config)
        files[f"{digest(text)[7:]}.json"] = text
        items.append({"Config": f"{digest(text)[7:]}.json", "RepoTags": list(tags), "Layers": names})
    files |= dict(zip(names, layers, strict=True))
    members = [member(name, data=data) for name, data in files.items()]
    return tar(*members, member("manifest.json", data=json.dumps(items).encode()))


def oci_directory(path: Path, layers: list[bytes], name: str, blobs: Mapping[str, str] | None = None) -> str:
    """Write an OCI layout of an image and return the manifest's digest; ``blobs`` gives layers' media types."""
    where = path / "blobs" / "sha256"
    where.mkdir(parents=True)
    kind = "application/vnd.oci.image.layer.v1.tar"

    def put(data: bytes, media_type: str) -> dict[str, Any]:
        (where / digest(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    config = put(configuration(layers), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": [put(layer, kind) for layer in layers]}
    found = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry = {**found, "annotations": {"org.opencontainers.image.ref.name": name}}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(found["digest"])


def _about(path: str, seen: dict[tuple[int, int], str], name: str) -> dict[str, Any]:
    about = os.lstat(path)
    kind = stat.S_IFMT(about.st_mode)
    found: dict[str, Any] = {
        "mode": oct(about.st_mode),
        "owner": (about.st_uid, about.st_gid),
        "mtime_ns": about.st_mtime_ns,
        "xattrs": {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        },
    }
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            found["content"] = hashlib.sha256(file.read()).hexdigest()
        if about.st_nlink > 1:
            found["same_as"] = seen.setdefault((about.st_dev, about.st_ino), name)
    elif kind == stat.S_IFLNK:
        found["target"] = os.readlink(path)
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        found["device"] = about.st_rdev
    return found


def tree(path: str | Path, *, leave_out: Iterable[str] = (), root: bool = False) -> dict[str, dict[str, Any]]:
    """Return all of a tree as values, by path; fields in ``leave_out`` are left out."""
    top = str(path)
    seen: dict[tuple[int, int], str] = {}
    found = {".": _about(top, seen, ".")} if root else {}
    for at, names, files in os.walk(top):
        names.sort()
        for name in sorted((*names, *files)):
            where = os.path.join(at, name)
            short = os.path.relpath(where, top)
            found[short] = _about(where, seen, short)
    for item in found.values():
        for field in leave_out:
            item.pop(field, None)
    return found

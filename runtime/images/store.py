"""The store on the disk: blobs, index and layers, and who may touch them when.

Whatever adds holds ``shared`` while it works; what removes takes ``alone``, so that nothing is removed which somebody
is about to name. The index has a lock of its own. Blobs, index and layers get their names when they are complete and
on the disk: whoever is killed, or loses power, leaves at most what ``prune`` removes.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager

from lxcfs_py import json_text
from lxcfs_py.errors import Error, reason
from runtime.images import catalog, manifest
from runtime.images.resolve import USE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from io import RawIOBase
    from typing import Any

    from runtime.images.manifest import Descriptor

LAYOUT = b'{"imageLayoutVersion": "1.0.0"}'


class Blob:
    """A blob that is being written: as much of a file as a writer of archives wants."""

    def __init__(self, file: RawIOBase) -> None:
        from hashlib import sha256

        self._file, self._hash, self.size = file, sha256(), 0

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> int:
        """Write all of it."""
        rest = data
        while rest := rest[self._file.write(rest) or 0 :]:
            pass
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how much was written."""
        return self.size


class Store:
    """The images below ``STORAGE``."""

    def __init__(self, storage: str) -> None:
        self.storage = storage
        self.images = f"{storage}/images"
        self.blobs = f"{self.images}/blobs/sha256"
        self.incoming = f"{self.images}/incoming"
        """Where things are while they are not complete."""
        self.layers = f"{storage}/layers"

    def blob(self, digest: str) -> str:
        """Return the path of a blob."""
        return f"{self.blobs}/{digest.removeprefix('sha256:')}"

    def layer(self, chain: str) -> str:
        """Return the path of an unpacked layer's directory: ``tree`` and ``layer.json`` are in it."""
        return f"{self.layers}/{chain}"

    def make(self) -> None:
        """Make what is not there. Nobody but root may look in: setuid programs and devices of images lie here."""
        try:
            for directory in (self.images, self.layers, self.blobs, self.incoming):
                os.makedirs(directory, mode=0o700, exist_ok=True)
        except OSError as error:
            raise Error(reason(error), "run it as root, or give a --storage that can be written") from error
        if not os.path.exists(f"{self.images}/oci-layout"):
            self._write(f"{self.images}/oci-layout", LAYOUT)

    @contextmanager
    def _lock(self, name: str, how: int) -> Iterator[None]:
        descriptor = os.open(f"{self.images}/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """While we add something, nobody removes anything."""
        self.make()
        with self._lock("lock", fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While we remove, nobody adds; raises an Error if somebody is adding now."""
        self.make()
        try:
            with self._lock("lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise Error(f"{self.images}: images are being added right now", "try again when that is done") from None

    def entries(self) -> tuple[Descriptor, ...]:
        """Return the index's entries."""
        path = f"{self.images}/index.json"
        try:
            with open(path, "rb") as file:
                found = manifest.index(file.read(), path)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Error(reason(error), "run it as root") from error
        return tuple(entry for entry in found if catalog.id_(entry))

    def change(self, how: Callable[[tuple[Descriptor, ...]], tuple[Descriptor, ...]]) -> None:
        """Let ``how`` make new entries of the index's."""
        with self._lock("index.lock", fcntl.LOCK_EX):
            self._write(f"{self.images}/index.json", manifest.index_text(how(self.entries())))

    def _write(self, path: str, data: bytes) -> None:
        """Write a text under a name that only ever holds a whole one."""
        new = self.temporary()
        with open(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)

    def temporary(self) -> str:
        """Return a path that is nobody else's; ``prune`` removes what is left there."""
        return f"{self.incoming}/{os.getpid()}.{os.urandom(8).hex()}"

    def read(self, digest: str) -> bytes:
        """Return a manifest or configuration; raises an Error if it is not there or not what its digest says."""
        from hashlib import sha256

        path = self.blob(digest)
        try:
            with open(path, "rb") as file:
                data = file.read(manifest.MAX_TEXT_BYTES + 1)
        except OSError as error:
            raise Error(reason(error), "pull or import the image again") from error
        if len(data) > manifest.MAX_TEXT_BYTES or f"sha256:{sha256(data).hexdigest()}" != digest:
            raise Error(f"{path}: its content is not what its digest says", "pyproc rmi the image, and get it again")
        return data

    def put(self, pieces: Iterable[bytes], what: str, expected: Descriptor | None = None) -> tuple[str, int]:
        """Store a blob and return its digest and size; raises an Error if it is not the one ``expected``."""

        def write(blob: Blob) -> None:
            for piece in pieces:
                blob.write(piece)
                if expected is not None and blob.size > expected.size_bytes:
                    break
            if expected is not None and (blob.digest, blob.size) != (expected.digest, expected.size_bytes):
                raise Error(f"{what}: its content is not what its digest says", "get the image again")

        return self.written(write)

    def written(self, write: Callable[[Blob], None]) -> tuple[str, int]:
        """Store as a blob what ``write`` writes, and return its digest and size."""
        new = self.temporary()
        try:
            with open(new, "xb", buffering=0) as file:
                blob = Blob(file)
                write(blob)
                os.fsync(file.fileno())
            os.rename(new, self.blob(blob.digest))
        except OSError as error:
            raise Error(reason(error), "make room: pyproc prune") from error
        finally:
            if os.path.exists(new):
                os.unlink(new)
        return blob.digest, blob.size

    def put_text(self, data: bytes, what: str) -> tuple[str, int]:
        """Store a manifest or configuration."""
        return self.put((data,), what)

    def about(self, chain: str) -> dict[str, Any]:
        """Return what was written down of an unpacked layer (``layers.Layers``)."""
        path = f"{self.layer(chain)}/layer.json"
        try:
            with open(path, "rb") as file:
                found = json_text.loads(file.read())
        except OSError as error:
            raise Error(reason(error), "pull or import the image again") from error
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Error(f"{path}: damaged", "pyproc rmi the image, and get it again")
        return found

    def uses(self) -> list[dict[str, Any]]:
        """Return the images containers are made of: ``id``, ``name``, ``layers`` and the ``container``."""
        found = []
        try:
            containers = [each.name for each in os.scandir(f"{self.storage}/containers") if not each.is_symlink()]
        except OSError:
            return []
        for container in containers:
            try:
                with open(f"{self.storage}/containers/{container}/{USE}", "rb") as file:
                    use = json_text.loads(file.read())
            except (OSError, ValueError):
                continue
            if isinstance(use, dict):
                found.append({**use, "container": container})
        return found

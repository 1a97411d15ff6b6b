"""Layers as directories: ``STORAGE/layers/CHAIN/tree``, in overlayfs's form, made once, shared by all above.

The chain id (config.md of the OCI image specification, "Layer ChainID") names a layer together with all below it:
what lies below decides the attributes of directories that a layer has no entry for, and which whiteouts hide
anything.
"""

from __future__ import annotations

import fcntl
import os

from lxcfs_py import json_text
from lxcfs_py.errors import Error
from runtime.images.resolve import trees
from runtime.images.stream import Stream
from runtime.images.unpack import Unpack
from runtime.kernel import removal
from runtime.kernel.syscalls import syncfs
from runtime.root.lower import Lower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from runtime.images.progress import Progress
    from runtime.images.store import Store

NEW, DEAD = ".new.", ".dead."
"""What the names of layers in the making, and of those that are being removed, begin with."""


def chain_id(below: str, diff_id: str) -> str:
    """Return the hex digits of a layer's chain id; ``below`` is the chain id under it, "" for none."""
    from hashlib import sha256

    return sha256(f"sha256:{below} {diff_id}".encode()).hexdigest() if below else diff_id.removeprefix("sha256:")


class Layers:
    """The layers of one image, from the base up; the caller holds ``store.shared``.

    Those that are missing get their names together, when all are complete and on the disk. Of several processes
    that want one layer, one unpacks it and the others wait; they all go from the base up, so that no two wait for
    each other. One that was killed has left a directory, which the next one empties.
    """

    def __init__(self, store: Store, progress: Progress) -> None:
        self.store, self.progress = store, progress
        self.chains: list[str] = []
        self._directories: list[str] = []
        """Of all layers so far, the base first, where they are now."""
        self._held: dict[str, int] = {}
        """The locks of those in the making: descriptors of their directories."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        for new, held in self._held.items():
            removal.remove_tree(new)
            os.close(held)

    def add(self, blob: str, what: str, diff_id: str) -> None:
        """Put one layer more on top, unpacked if it is not there.

        Raises an Error for a layer that is refused or whose tar is not the one of its diff id.
        """
        chain = chain_id(self.chains[-1] if self.chains else "", diff_id)
        place, new = self.store.layer(chain), f"{self.store.layers}/{NEW}{chain}"
        while not os.path.isdir(place):
            os.makedirs(new, mode=0o700, exist_ok=True)
            try:
                held = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:  # completed just now
                continue
            fcntl.flock(held, fcntl.LOCK_EX)
            ours = _is(held, new)  # else the one we waited for has completed it, or given up
            if not ours or os.path.isdir(place):  # completed between our two looks
                if ours:
                    removal.remove_tree(new)
                os.close(held)
                continue
            self._held[new] = held
            place = new
            self._unpack(new, blob, what, diff_id)
        self.chains.append(chain)
        self._directories.append(place)

    def finish(self) -> None:
        """Give the new ones their names, when they are on the disk."""
        for held in list(self._held.values())[:1]:
            syncfs(held)
        for new in list(self._held):
            os.rename(new, new.replace(f"/{NEW}", "/"))
            os.close(self._held.pop(new))

    def _unpack(self, new: str, blob: str, what: str, diff_id: str) -> None:
        for left in os.listdir(new):
            path = f"{new}/{left}"
            removal.remove_tree(path) if os.path.isdir(path) else os.unlink(path)
        os.mkdir(f"{new}/tree")
        root = os.open(f"{new}/tree", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        lower = Lower(trees(self._directories))
        try:
            os.fchmod(root, 0o755)
            with Stream(blob, what, self.progress) as stream:
                work = Unpack(root, lower)
                try:
                    digest = work.run(stream)
                finally:
                    work.close()
        finally:
            lower.close()
            os.close(root)
        if digest != diff_id:
            raise Error(f"{what}: its tar is {digest}, not {diff_id} as the image says", "get the image again")
        about = {
            "diff_id": diff_id,
            "below": self.chains[-1] if self.chains else "",
            "tar_bytes": stream.position,
            "bytes": work.bytes,
            "opaque": b"" in work.opaque,
        }
        with open(f"{new}/layer.json", "wb") as file:
            file.write(json_text.dumps(about))


def _is(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False

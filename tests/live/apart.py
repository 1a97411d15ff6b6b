"""A box whose mounts, and more if asked, are its own: what is covered or changed there is not so on the machine."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tests.live.box import Box


class Apart(Box):
    """Everything of it runs in namespaces of its own; ``namespaces`` are further ones, as unshare(1) calls them."""

    def __init__(self, base: Path, scale: float, *namespaces: str) -> None:
        super().__init__(base, scale)
        options = [f"--{name}" for name in ("mount", *namespaces)]
        self._holder = subprocess.Popen(["unshare", "--propagation", "private", *options, "sleep", "infinity"])
        self.enter = ("nsenter", f"--target={self._holder.pid}", *options)
        self.inside = Path(f"/proc/{self._holder.pid}/root")
        deadline = time.monotonic() + 20 * scale
        while Path(f"/proc/{self._holder.pid}/comm").read_text() != "sleep\n":
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def do(self, *command: str | Path) -> str:
        """Run a command there and return what it prints."""
        return subprocess.run([*self.enter, *command], check=True, capture_output=True, text=True).stdout

    def cover(self, path: str | Path, data: bytes | None) -> None:
        """Let a file say something else there; None: reading it is an I/O error."""
        source = self.base / f"cover-{os.urandom(4).hex()}"
        if data is None:
            source = Path(f"/proc/{self._holder.pid}/mem")  # nothing is mapped at 0
        else:
            source.write_bytes(data)
        self.do("mount", "--bind", source, path)

    def close(self) -> None:
        """Remove all, and the namespaces with it."""
        super().close()
        self._holder.kill()
        self._holder.wait()

"""Golden hosts: NAME/{proc,sys,cgroup,containers} is a machine at one moment, NAME/expected what its containers see.

``capture`` makes one of a running container; README.md says what each of them is.
"""

from __future__ import annotations

import json
from pathlib import Path

from lxcfs_py import container
from lxcfs_py.host import Host
from lxcfs_py.reader import Reader
from lxcfs_py.registry import Registration
from lxcfs_py.served import CPU, FILES
from lxcfs_py.views import read

HOSTS = Path(__file__).parent
PATHS = (*FILES, f"{CPU}/online", f"{CPU}/possible", f"{CPU}/offline")
"""What is expected of the hosts: every file, and of the directory of CPUs the lists of all."""


class Still(Reader):
    """Reads a tree; its clock stands at the tree's own proc/uptime."""

    def __init__(self, tree: Path) -> None:
        super().__init__(Host(f"{tree}/proc", f"{tree}/sys", f"{tree}/cgroup"))
        self.tree = tree

    def now_nsec(self) -> int:
        """Return when the tree was captured."""
        seconds, _, hundredths = self.host_bytes("proc/uptime").split()[0].partition(b".")
        return (int(seconds) * 100 + int(hundredths)) * 10_000_000

    def text(self, id_: str, path: str) -> bytes:
        """Return what one container reads in one file."""
        registration = Registration(**json.loads((self.tree / f"containers/{id_}.json").read_text()))
        return read(self, container.of(self.host, self.files, registration), path)

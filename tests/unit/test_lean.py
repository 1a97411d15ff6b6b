"""What the daemon's processes do not import: each of them is resident as long as the daemon is."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import {module}
print(*(name for name, module in sys.modules.items() if getattr(module, '__file__', None)))
"""


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        ("lxcfs_py.daemon.workers", ("trio", "attr", "click", "email", "zipfile", "importlib.metadata")),
        ("lxcfs_py.daemon.supervisor", ("pyfuse3", "lxcfs_py.views", "click")),
        ("lxcfs_py.seccomp.agent", ("trio", "pyfuse3", "click", "email")),
        ("lxcfs_py.cli", ("trio", "pyfuse3", "lxcfs_py.views")),
    ],
)
def test_imports(module: str, left_out: tuple[str, ...]) -> None:
    """A process that serves has loaded nothing that only another one needs."""
    code = SCRIPT.format(module=module)
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    assert not loaded & set(left_out)

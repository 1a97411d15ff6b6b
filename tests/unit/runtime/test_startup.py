"""Start-up cost is a feature."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = {
    "argparse", "asyncio", "click", "collections", "contextlib", "dataclasses", "enum", "functools", "json",
    "logging", "pathlib", "pyfuse3", "pyroute2", "re", "shutil", "signal", "socket", "subprocess", "tempfile",
    "trio", "typing",
}  # fmt: skip


def test_starting_imports_nothing_heavy() -> None:
    """What pyproc-run imports before it does anything is none of the modules that take milliseconds."""
    root = Path(__file__).parents[3]
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from runtime import cli, lifecycle, spec; "
    code += "print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(loaded.split()) & HEAVY == set()

"""What engines and runtimes are told of us: the annotation that containers may have, and how our hook is declared.

deploy/oci/hooks.d says the same to Podman and CRI-O; a test compares them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANNOTATION = "io.lxcfs-py.view"
AUTO, REQUIRE, OFF = "auto", "require", "off"
STAGES = ("createRuntime", "poststop")
SECONDS = 10
"""When the runtime gives the hook up, which it gives itself up before."""


def hook(program: str) -> dict[str, Any]:
    """Return the hook as config.json has it; ``program`` is where ``lxcfs-py`` is."""
    found: dict[str, Any] = {"path": program, "args": ["lxcfs-py", "hook"], "timeout": SECONDS}
    if run := os.environ.get("LXCFS_PY_RUNTIME_DIR"):
        found["env"] = [f"LXCFS_PY_RUNTIME_DIR={run}"]
    return found

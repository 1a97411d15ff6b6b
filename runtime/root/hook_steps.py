"""The hooks that are run while a container's root is made (runtime.md, "Lifecycle")."""

from __future__ import annotations

import os

from runtime.process import hooks
from runtime.report import handed, send
from runtime.root.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runtime.root.tree import Tree


class ParentHooks(Step):
    """Let the runtime run prestart and createRuntime, in its own namespaces, now that our root is made."""

    report: int
    go: int

    def describe(self) -> str:
        """Return what a person wants to know of it."""
        return "hooks prestart createRuntime"

    def execute(self, _tree: Tree) -> None:
        """Ask, and wait until it has."""
        send(handed(self.report), b"hooks")
        if not os.read(self.go, 1):
            os._exit(1)


class Hooks(Step):
    """Run a stage here: createContainer in the container's namespaces, with the host's tree still to be seen."""

    stage: str
    hooks: Mapping[str, Any]
    state: Mapping[str, Any]

    def describe(self) -> str:
        """Return the stage and what is run."""
        return f"hooks {self.stage} {' '.join(hook['path'] for hook in self.hooks[self.stage])}"

    def execute(self, _tree: Tree) -> None:
        """Run it; in the container's namespaces the pid is the one that counts there (runtime.md, "State")."""
        hooks.stage(self.stage, self.hooks, {**self.state, "pid": os.getpid()})

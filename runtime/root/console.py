"""The container's terminal: made in its own devpts, bound on its /dev/console, its master sent to whoever holds it.

Engines hold it: they listen on ``--console-socket`` and get the master by SCM_RIGHTS, with the slave's name.
"""

from __future__ import annotations

import os

from lxcfs_py.errors import reason
from runtime.errors import RunError
from runtime.kernel import mountapi
from runtime.process import terminal
from runtime.report import connect, handed, send
from runtime.root.steps import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runtime.root.tree import Tree


class Console(Step):
    """Make the terminal, and give its master to the parent."""

    report: int
    size: Mapping[str, Any] | None

    def describe(self) -> str:
        """Return what a person wants to know of it."""
        return "console /dev/console"

    def execute(self, tree: Tree) -> None:
        """See pty(7); the slave comes from the master itself, whatever the container has at its names."""
        master, slave = terminal.make(tree.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY))
        if self.size:
            from _struct import pack

            terminal.resize(master, pack("HHHH", self.size["height"], self.size["width"], 0, 0))
        place = tree.file("/dev/console")
        copy = mountapi.open_tree("", recursive=False, at=slave)
        mountapi.move_mount(copy, place, "/dev/console")
        os.close(copy)
        os.close(place)
        send(handed(self.report), b"terminal", master)
        os.close(master)
        tree.terminal = slave


def hand_over(path: str, master: int) -> None:
    """Send the master to the console socket, as runc does; raises an Error naming it."""
    try:
        holder = connect(path)
    except OSError as error:
        raise RunError(f"--console-socket {reason(error)}", "name a socket that somebody listens on") from error
    send(holder, b"/dev/pts/ptmx", master)
    holder.close()

"""The mount ends with the service, whoever asks for it, and when."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from lxcfs_py.daemon import mount
from tests.live.box import BIN, Box
from tests.live.test_keeper import everything, kill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Act = Callable[[int, Path], None]


def test_sigterm_unmounts(own: Box) -> None:
    """SIGTERM to the holder is the end of it all."""
    own.start_daemon(keeper="process")
    own.stop_daemon()
    assert mount.mounted(str(own.mountpoint)) is None
    assert not (own.base / "run/lxcfs-py/daemon.json").exists()


def test_sigterm_while_nobody_serves(own: Box) -> None:
    """SIGTERM in the moment when the supervisor has been killed and is not back yet is the end all the same."""
    holder = own.start_daemon(keeper="process")
    kill(everything)(holder.pid, own.base)
    own.stop_daemon()
    assert mount.mounted(str(own.mountpoint)) is None


def test_unmounted_by_somebody_else(own: Box) -> None:
    """Once the mount is gone, the holder ends by itself."""
    holder = own.start_daemon(keeper="process")
    subprocess.run([BIN / "lxcfs-py", "umount", own.mountpoint], env=own.environment, check=True)
    assert holder.wait(20 * own.scale) == 0

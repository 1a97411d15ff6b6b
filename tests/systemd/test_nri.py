"""The NRI plugin as a service, and a runtime that comes later: what containerd 1.7 was heard to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import sockets
from tests.systemd import host
from tests.systemd.host import about, systemctl
from tests.unit.nri.test_service import conversation

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = "lxcfs-py-nri.service"
EXPOSURE = 1.1


@pytest.fixture
def plugin(time_scale: float) -> Iterator[None]:
    """Start it, and the daemon with it; afterwards both are stopped."""
    systemctl("start", UNIT)
    yield
    systemctl("stop", UNIT, host.SERVICE)
    host.wait(lambda: not host.mounts() and not host.processes(), time_scale)


def test_the_unit_is_sound() -> None:
    """systemd finds nothing to say about it, and little that it could do."""
    done = host.run("systemd-analyze", "verify", "--man=no", UNIT)
    assert done.stdout + done.stderr == ""
    assert about("StartLimitIntervalUSec", UNIT) == "0"  # it is started again however often it was killed
    text = host.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", text)
    assert found and float(found[1]) <= EXPOSURE, text


def test_started(plugin: None, time_scale: float) -> None:
    """It begins, with the daemon, though nobody listens, so that no boot waits; a runtime finds it, and the next."""
    assert (about("ActiveState", UNIT), about("ActiveState")) == ("active", "active")
    assert "no runtime listens at /var/run/nri/nri.sock" in about("StatusText", UNIT)
    for kill in (False, True):
        listening = sockets.listen("/run/nri/nri.sock")
        listening.socket.settimeout(20 * time_scale)
        end, _address = listening.socket.accept()
        with end:
            assert conversation(end) == 4
            host.wait(lambda: about("StatusText", UNIT).startswith("registered at"), time_scale)
            if kill:
                host.kill(int(about("MainPID", UNIT)))
                end, _address = listening.socket.accept()
                with end:
                    assert conversation(end) == 4
        listening.close()

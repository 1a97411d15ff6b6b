"""The fixtures of the service's tests. They run in a guest of their own: see tests/vm/boot --systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.systemd import host
from tests.systemd.readers import Readers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def installed(nothing_left: None) -> Iterator[None]:
    """Install all, and uninstall it: nothing may be left."""
    before = host.tree("/usr", "/etc", "/var/lib")
    host.install()
    yield
    if host.mounts():  # a test has failed; what waits there would keep us waiting
        host.abort()
    host.uninstall()
    left = {path for path in host.tree("/usr", "/etc", "/var/lib") - before if "__pycache__" not in path}
    assert not {path for path in left if "lxcfs" in path or "pyproc" in path}


@pytest.fixture
def service(time_scale: float) -> Iterator[None]:
    """Start the service; afterwards it is stopped and configured as it was."""
    host.systemctl("start", host.SERVICE)
    yield
    host.systemctl("stop", host.SERVICE)
    host.configure()
    host.systemctl("reset-failed", host.SERVICE, check=False)
    host.wait(lambda: not host.mounts() and not host.processes(), time_scale)


@pytest.fixture
def readers(service: None, tmp_path: Path, time_scale: float) -> Iterator[Readers]:
    """Start readers."""
    found = Readers(tmp_path, time_scale)
    try:
        found.begin()
        yield found
    finally:
        found.close()

"""Pods as kubelet starts them, by containerd's CRI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines import cri
from tests.engines.test_engines import READ, SMALLER, TOTAL
from tests.systemd import host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.machine import Machine

HANDLERS = [
    "pyproc",
    "runc-view",
    pytest.param("pyproc-systemd", marks=pytest.mark.needs_systemd),
    pytest.param("crun-view", marks=pytest.mark.needs_unified),
]


@pytest.fixture(params=HANDLERS)
def pod(machine: Machine, request: pytest.FixtureRequest) -> Iterator[cri.Cri]:
    """Yield a pod of each handler."""
    found = cri.Cri(machine, request.param)
    yield found
    found.close()


@pytest.mark.anywhere
def test_a_pod(machine: Machine, pod: cri.Cri, time_scale: float) -> None:
    """Two containers of a pod see their own limits, which change, each until it ends; nothing is left of them.

    With SystemdCgroup the containers are systemd's scopes.
    """
    others = machine.registrations()
    first, second = pod.start(64 << 20), pod.start(48 << 20)
    assert (pod.inside(first, READ), pod.inside(second, READ)) == (TOTAL, SMALLER)
    if pod.slice:
        assert host.about("MemoryMax", f"cri-containerd-{first}.scope") == str(64 << 20)
    cpus = pod.inside(second, "grep -c ^processor /proc/cpuinfo; head -n 1 /sys/devices/system/cpu/online")
    assert cpus == "1\n0\n"
    pod.update(first, 48 << 20)
    assert pod.inside(first, READ) == SMALLER
    assert len(machine.registrations()) == len(others) + 2
    pod.remove(first)
    machine.until(lambda: len(machine.registrations()) == len(others) + 1, time_scale)
    assert pod.inside(second, READ) == SMALLER
    pod.remove(second)
    machine.until(lambda: machine.registrations() == others, time_scale)


@pytest.mark.anywhere
@pytest.mark.parametrize("handler", ["pyproc", "runc-view"])
def test_a_pod_without(machine: Machine, handler: str) -> None:
    """A pod's annotation keeps the kernel's files."""
    pod = cri.Cri(machine, handler, {"io.lxcfs-py.view": "off"})
    try:
        assert pod.inside(pod.start(64 << 20), READ) != TOTAL
    finally:
        pod.close()

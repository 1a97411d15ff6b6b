"""Pods as kubelet starts them, by containerd's CRI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines import cri
from tests.engines.engine import until
from tests.engines.test_engines import READ, SMALLER, TOTAL, registrations
from tests.systemd import host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=cri.HANDLERS)
def pod(request: pytest.FixtureRequest) -> Iterator[cri.Cri]:
    """Yield a pod of each handler."""
    parent = "system.slice" if request.param.endswith("-systemd") else "/kubepods"
    found = cri.Cri(request.param, parent=parent)
    yield found
    found.close()


def test_a_pod(pod: cri.Cri, time_scale: float) -> None:
    """Two containers of a pod see their own limits, which change, each until it ends; nothing is left of them."""
    others = registrations()
    first, second = pod.start(64 << 20), pod.start(48 << 20)
    assert (pod.inside(first, READ), pod.inside(second, READ)) == (TOTAL, SMALLER)
    cpus = pod.inside(second, "grep -c ^processor /proc/cpuinfo; head -n 1 /sys/devices/system/cpu/online")
    assert cpus == "1\n0\n"
    pod.update(first, 48 << 20)
    assert pod.inside(first, READ) == SMALLER
    assert len(registrations()) == len(others) + 2
    pod.remove(first)
    until(lambda: len(registrations()) == len(others) + 1, time_scale)
    assert pod.inside(second, READ) == SMALLER
    pod.remove(second)
    until(lambda: registrations() == others, time_scale)


def test_a_scope() -> None:
    """With SystemdCgroup the containers are systemd's scopes."""
    pod = cri.Cri("pyproc-systemd", parent="system.slice")
    try:
        id_ = pod.start(64 << 20)
        assert host.about("MemoryMax", f"cri-containerd-{id_}.scope") == str(64 << 20)
    finally:
        pod.close()


@pytest.mark.parametrize("handler", ["pyproc", "runc-view"])
def test_a_pod_without(handler: str) -> None:
    """A pod's annotation keeps the kernel's files."""
    pod = cri.Cri(handler, {"io.lxcfs-py.view": "off"})
    try:
        assert pod.inside(pod.start(64 << 20), READ) != TOTAL
    finally:
        pod.close()

"""Pods of a containerd with NRI get the view from our plugin: no runtime class, no base specification."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.engines import nri
from tests.live.box import BIN, Box

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anywhere
PYPROC = "pyproc"
RUNTIMES = ("runc",) if os.path.isdir("/sys/fs/cgroup/memory") else ("runc", "crun")
"""crun refuses to run beside v1 hierarchies."""
VIEW = "io.lxcfs-py.view"
READ = "head -n 1 /proc/meminfo"
TOTAL, SMALLER = "MemTotal:          65536 kB\n", "MemTotal:          49152 kB\n"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, time_scale: float) -> Iterator[Box]:
    """Yield a box with a daemon that serves."""
    found = Box(tmp_path_factory.mktemp("b"), time_scale)
    found.start_daemon()
    yield found
    found.close()


@pytest.fixture(scope="module")
def containerd(box: Box) -> Iterator[nri.Containerd]:
    """Yield containerd, with our plugin, and an image."""
    found = nri.Containerd(box, (*RUNTIMES, PYPROC))
    try:
        found.image()
        found.plugin()
        yield found
    finally:
        found.close()


@pytest.fixture
def pods(containerd: nri.Containerd) -> Iterator[nri.Pods]:
    """Yield what starts pods; afterwards nothing of them is left."""
    found = nri.Pods(containerd)
    yield found
    found.close()
    assert containerd.registrations() == []


@pytest.mark.parametrize("runtime", [*RUNTIMES, PYPROC])
def test_a_pod(pods: nri.Pods, runtime: str) -> None:
    """Two containers of a pod see their own limits, which change, each until it ends."""
    pod = pods.start(runtime)
    first, second = pod.start(64 << 20), pod.start(48 << 20)
    assert (pod.inside(first, READ), pod.inside(second, READ)) == (TOTAL, SMALLER)
    assert (
        pod.inside(second, "grep -c ^processor /proc/cpuinfo; head -n 1 /sys/devices/system/cpu/online") == "1\n0\n"
    )
    pod.update(first, 48 << 20)
    assert pod.inside(first, READ) == SMALLER
    assert {*pods.containerd.registrations()} - {pod.id} == {first, second}  # pyproc's pods are registered, too
    pod.remove(first)
    assert {*pods.containerd.registrations()} - {pod.id} == {second}


@pytest.mark.parametrize("runtime", [RUNTIMES[0], PYPROC])
def test_off(pods: nri.Pods, runtime: str) -> None:
    """A pod's annotation keeps the kernel's files, though its runtime class lets none through."""
    pod = pods.start(runtime, {VIEW: "off"})
    id_ = pod.start(64 << 20)
    assert pod.inside(id_, READ) not in (TOTAL, "")
    assert not pods.containerd.spec(id_).get("hooks")


def test_require(pods: nri.Pods, box: Box) -> None:
    """A pod that requires the view has it; without a daemon its containers do not start, and others do."""
    pod, other = pods.start(RUNTIMES[0], {VIEW: "require"}), pods.start(RUNTIMES[0])
    assert pod.inside(pod.start(64 << 20), READ) == TOTAL
    box.stop_daemon()
    try:
        with pytest.raises(AssertionError, match="StartContainer"):
            pod.start(64 << 20)
        assert other.inside(other.start(64 << 20), READ).startswith("MemTotal:")
    finally:
        box.start_daemon()


def test_a_plugin_that_is_killed(pods: nri.Pods) -> None:
    """Who has the view keeps it, who starts meanwhile goes without, and who starts when it is back does not."""
    containerd, pod = pods.containerd, pods.start(RUNTIMES[0])
    first = pod.start(64 << 20)
    containerd.unplug()
    second = pod.start(64 << 20)
    assert pod.inside(first, READ) == TOTAL
    assert pod.inside(second, READ) not in (TOTAL, "")
    containerd.plugin()
    assert pod.inside(pod.start(48 << 20), READ) == SMALLER


def test_a_containerd_that_is_killed(pods: nri.Pods) -> None:
    """The plugin is there for the next one, which finds the containers as they were."""
    containerd, pod = pods.containerd, pods.start(RUNTIMES[0])
    first, before = pod.start(64 << 20), containerd.registered()
    containerd.kill()
    containerd.start()
    containerd.until(lambda: containerd.registered() > before)
    assert pod.inside(first, READ) == TOTAL
    assert pod.inside(pod.start(48 << 20), READ) == SMALLER


def test_started_by_containerd(pods: nri.Pods) -> None:
    """As a file in the directory of plugins it is started with containerd, and ends with it."""
    containerd = pods.containerd
    containerd.unplug()
    containerd.kill()
    environment = f"LXCFS_PY_RUNTIME_DIR={containerd.environment['LXCFS_PY_RUNTIME_DIR']}"
    file = containerd.base / "plugins/10-lxcfs-py"
    file.write_text(f"#!/bin/sh\nexec env {environment} {BIN}/lxcfs-py nri\n")
    file.chmod(0o755)
    before = containerd.registered()
    containerd.start()
    try:
        containerd.until(lambda: containerd.registered() > before)
        pod = pods.start(RUNTIMES[0])
        assert pod.inside(pod.start(64 << 20), READ) == TOTAL
    finally:
        file.unlink()
        containerd.kill()
        containerd.start()
        containerd.plugin()

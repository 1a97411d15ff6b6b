"""The machines tests run on, and what each of them lacks by nature.

A test says what it needs by a ``needs_*`` marker. On a lane that lacks it the test is deselected, counted and
printed; a guest's row is a promise rather than a finding, so a guest that lost a feature fails its tests.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "LXCFS_PY_LANE"
APART = frozenset({"needs_unified", "needs_systemd"})
"""What tests need that may be shown by guests alone, even if they are marked anywhere."""


class Lane(NamedTuple):
    """One machine to run on."""

    cpus: int
    psi: bool
    timens: bool
    cpuset: bool
    procps: bool
    """Whether Debian's ``top`` and ``vmstat`` can read the kernel's own /proc/cpuinfo."""
    hybrid: bool
    """Whether cgroup2 stands beside v1 hierarchies."""
    unified: bool
    """Whether cgroup2 stands alone."""
    systemd: bool
    """Whether systemd is pid 1; of a guest, whether it is when it was booted so."""
    ia32: bool
    """Whether 64-bit processes can make 32-bit system calls."""
    nodes: bool
    """Whether sysfs has memory nodes."""
    layers: bool
    """Whether what lies below /tmp can be a layer of an overlay: not where that is on one itself."""
    apparmor: bool
    """Whether the kernel runs with AppArmor."""
    selinux: bool
    """Whether the kernel runs with SELinux, and has no policy that anybody needs."""
    rights: bool
    """Whether root has every capability that the kernel knows."""
    inet: bool
    """Whether the kernel has IPv6, and nftables with tables for both families."""
    native: bool
    """Whether the machine is no software emulation, in which everything takes 11 times as long, or more."""
    time_scale: float
    """How much longer than on an idle machine a step of Python may take here."""


GUESTS = {
    "qemu": Lane(
        cpus=4,
        psi=True,
        timens=True,
        cpuset=True,
        procps=True,
        hybrid=False,
        unified=True,
        systemd=True,
        ia32=True,
        nodes=True,
        layers=False,
        apparmor=True,
        selinux=False,
        rights=True,
        inet=True,
        native=False,
        time_scale=15.0,
    ),
    "uml": Lane(
        cpus=1,
        psi=False,
        timens=False,
        cpuset=False,
        procps=False,
        hybrid=False,
        unified=True,
        systemd=True,
        ia32=False,
        nodes=False,
        layers=False,
        apparmor=False,
        selinux=False,
        rights=True,
        inet=False,
        native=True,
        time_scale=3.0,
    ),
}
GUESTS["qemu-selinux"] = GUESTS["qemu"]._replace(apparmor=False, selinux=True)


def here() -> Lane:
    """Return what this machine has."""
    try:
        with open("/sys/fs/cgroup/cgroup.controllers") as file:
            cpuset = "cpuset" in file.read().split()
    except OSError:
        cpuset = os.path.isdir("/sys/fs/cgroup/cpuset")
    try:
        with open("/sys/module/apparmor/parameters/enabled") as file:
            enabled = file.read(1)
    except OSError:
        enabled = "N"
    return Lane(
        cpus=len(os.sched_getaffinity(0)),
        psi=os.path.exists("/proc/pressure/cpu"),
        timens=os.path.exists("/proc/self/ns/time"),
        cpuset=cpuset,
        procps=True,
        hybrid=os.path.isdir("/sys/fs/cgroup/unified"),
        unified=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        systemd=os.path.isdir("/run/systemd/system"),
        ia32=os.path.exists("/proc/sys/abi/vsyscall32"),
        nodes=os.path.isdir("/sys/devices/system/node"),
        layers=True,
        apparmor=enabled == "Y",
        selinux=False,
        rights=_rights(),
        inet=True,
        native=True,
        time_scale=1.0,
    )


def _rights() -> bool:
    with open("/proc/sys/kernel/cap_last_cap") as last, open("/proc/self/status") as status:
        every = (2 << int(last.read())) - 1
        return every == next(int(line.split()[1], 16) for line in status if line.startswith("CapBnd:"))


def current() -> tuple[str, Lane]:
    """Return the name and the features of the lane that this process runs on."""
    name = os.environ.get(VARIABLE, "here")
    return name, here() if name == "here" else GUESTS[name]


def lacks(lane: Lane, needs: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    """Return the first need (marker name, marker arguments) that the lane can't meet, or ""."""
    for name, arguments in needs:
        if name == "needs_cpus":
            if lane.cpus < arguments[0]:
                return f"{name}({arguments[0]})"
        elif not getattr(lane, name.removeprefix("needs_")):
            return name
    return ""

"""What a host can and can't do for containers, and how to mend it: pure decisions over ``facts``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lxcfs_py.daemon.mount import FSTYPE
from lxcfs_py.procfs import mountinfo
from lxcfs_py.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lxcfs_py.facts import Facts, Place

OK, WARN, FAIL = "ok", "warn", "fail"
RESEND = (6, 9)
"""The first kernel with FUSE_NOTIFY_RESEND."""
FILES = 8192
"""What a worker keeps open at most: kernel files, and a pidfd a container and a pid namespace."""
CAPABILITIES = (
    ("CAP_SYS_ADMIN", 21, FAIL, "nothing can be mounted, no namespace made"),
    (
        "CAP_SYS_PTRACE",
        19,
        WARN,
        "the container of a caller with other rights can't be found: it gets the host's files",
    ),
    ("CAP_SYS_RESOURCE", 24, WARN, "pressure can be watched in windows of whole 2 s only"),
)


class Controller(Record):
    """What a controller is for."""

    names: tuple[str, ...]
    """As v1 and as cgroup2 call it."""
    option: str
    """The kernel's build option."""
    without: str


CONTROLLERS = (
    Controller(("memory",), "CONFIG_MEMCG", "memory and swap are not limited, and meminfo says the host's"),
    Controller(("cpu",), "CONFIG_CFS_BANDWIDTH", "CPU time is not limited, and quotas hide no CPUs"),
    Controller(("cpuacct", "cpu_time"), "CONFIG_CGROUP_CPUACCT", "stat and uptime know of no used CPU time"),
    Controller(("cpuset",), "CONFIG_CPUSETS", "containers can't be bound to CPUs, and see as many as their quota"),
    Controller(("pids",), "CONFIG_CGROUP_PIDS", "the number of processes is not limited"),
    Controller(("blkio", "io"), "CONFIG_BLK_CGROUP", "disk rates are neither limited nor known"),
    Controller(("hugetlb",), "CONFIG_CGROUP_HUGETLB", "huge pages are not limited, and HugePages_* say the host's"),
)


class Finding(Record):
    """One line of the report."""

    check: str
    level: str
    text: str
    remedy: str = ""


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Return all findings, in the order in which they matter."""
    return (
        *_rights(facts),
        *_kernel(facts),
        *_cgroups(facts),
        *_machine(facts),
        *_serving(facts),
    )


def _check(check: str, good: bool, text: str, otherwise: str, remedy: str, level: str = WARN) -> Finding:
    return Finding(check, OK, text) if good else Finding(check, level, otherwise, remedy)


def _rights(facts: Facts) -> Iterator[Finding]:
    if facts.uid != 0:
        text = f"user {facts.uid} can't serve, and runs containers in a user namespace (docs/rootless.md)"
        yield Finding("root", WARN, text, "run it with sudo to see what root can do")
        return
    yield Finding("root", OK, "this is root")
    for name, bit, level, without in CAPABILITIES:
        here = bool(facts.capabilities >> bit & 1)
        yield _check(name, here, "is there", without, f"give it to this container or service: {name}", level)


def _kernel(facts: Facts) -> Iterator[Finding]:
    fuse = "load the module, as root: modprobe fuse; in a container: allow the device /dev/fuse"
    level = FAIL
    if facts.fuse and facts.uid != 0:  # who serves is root
        fuse, level = "run it with sudo", WARN
    yield _check("/dev/fuse", not facts.fuse, "can be opened", facts.fuse, fuse, level)
    yield _check(
        "resend", version(facts.release) >= RESEND, f"kernel {facts.release} asks again what a killed worker held",
        f"kernel {facts.release}: a read that is under way when a worker is killed fails once with EIO",
        "boot a kernel from 6.9 on",
    )  # fmt: skip
    yield _check(
        "pidfd", facts.pidfd, "processes are told apart for sure", "there is no pidfd_open(2)",
        "boot a kernel from 5.3 on", FAIL,
    )  # fmt: skip
    yield _check(
        "time namespaces", facts.time_namespaces, "uptime and ps -o etime agree inside",
        "ps -o etime inside is absurd beside the container's uptime", "boot a kernel with CONFIG_TIME_NS (5.6)",
    )  # fmt: skip
    yield _check(
        "pid translation", facts.translates_pids, "a caller's container is one call away",
        "a caller's container is searched for in all of /proc, once each", "boot a kernel from 6.11 on",
    )  # fmt: skip
    yield _check(
        "seccomp", facts.notifies, "sysinfo(2) can be answered (user notification)",
        "sysinfo(2) says the host's: no user notification", "boot a kernel with CONFIG_SECCOMP_FILTER (5.5)",
    )  # fmt: skip


def version(release: str) -> tuple[int, ...]:
    """Return the first two numbers of a kernel's release."""
    return tuple(int(number) for number in re.findall(r"\d+", release)[:2])


def layout_name(facts: Facts) -> str:
    """Return ``v2``, ``hybrid``, ``v1`` or, without any cgroups, ``none``."""
    versions = {h.version for name, h in facts.layout.hierarchies.items() if not name.startswith("name=")}
    return {frozenset({2}): "v2", frozenset({1, 2}): "hybrid", frozenset({1}): "v1"}.get(frozenset(versions), "none")


def _cgroups(facts: Facts) -> Iterator[Finding]:
    name = layout_name(facts)
    text = {
        "v2": "v2: cgroup2 alone",
        "hybrid": "hybrid: v1 hierarchies, and cgroup2 beside them",
        "v1": "v1: hierarchies of version 1 alone",
        "none": "no cgroups are mounted: nothing is limited or known of a container",
    }[name]
    yield _check("cgroups", name != "none", text, text, "mount -t cgroup2 cgroup2 /sys/fs/cgroup", FAIL)
    if name == "none":
        return
    if facts.uid == 0:
        yield _check(
            "cgroups writable", facts.writable, "containers can be limited", "no container can be limited",
            "remount them: mount -o remount,rw /sys/fs/cgroup", FAIL,
        )  # fmt: skip
    for controller in CONTROLLERS:
        yield _controller(facts, controller)
    yield from _swap(facts)


def _controller(facts: Facts, controller: Controller) -> Finding:
    for name in controller.names:
        found = facts.layout.which(name)
        if found is not None and (found.version == 1 or name in (*found.controllers, "cpu_time")):
            return Finding(controller.names[0], OK, f"v{found.version} at {found.mount}")
    known = {name: facts.enabled[name] for name in controller.names if name in facts.enabled}
    if not known:
        remedy = f"boot a kernel with {controller.option}"
    elif not all(known.values()):
        remedy = f"boot without cgroup_disable={controller.names[0]}, or with cgroup_enable={controller.names[0]}"
    else:
        name = controller.names[0]
        remedy = f"mount it: mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}"
    return Finding(controller.names[0], WARN, controller.without, remedy)


def _swap(facts: Facts) -> Iterator[Finding]:
    memory = facts.layout.which("memory")
    if memory is None:
        return
    if facts.swap_accounting is None:
        yield Finding("swap accounting", OK, "shows once a cgroup below the top one has the memory controller")
        return
    file = "memory.memsw.limit_in_bytes" if memory.version == 1 else "memory.swap.max"
    yield _check(
        "swap accounting", facts.swap_accounting, f"by {file}",
        f"swap is not limited, and SwapTotal is the host's: there is no {file}", "boot with swapaccount=1",
    )  # fmt: skip


def _machine(facts: Facts) -> Iterator[Finding]:
    unified = "" in facts.layout.hierarchies
    yield _check(
        "pressure", facts.pressure and unified, "is accounted for each cgroup2",
        "containers have no /proc/pressure" + ("" if unified else ": only cgroup2 accounts for it"),
        "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified" if facts.pressure else "boot with psi=1 (CONFIG_PSI)",
    )  # fmt: skip
    yield _check(
        "overlay", facts.overlay, "containers can have a root of their own",
        "containers can have no root", "load the module, as root: modprobe overlay (CONFIG_OVERLAY_FS)", FAIL,
    )  # fmt: skip
    yield _check(
        "storage", mountinfo.carries_upper(facts.storage_fstype),
        f"{facts.storage} ({facts.storage_fstype}) can carry an overlay's upper layer",
        f"{facts.storage} ({facts.storage_fstype}) can't carry an overlay's upper layer: a tmpfs does, and what a "
        "container writes counts as its memory",
        "mount ext4, xfs or btrfs there, or name a directory in one: --storage DIR",
    )  # fmt: skip
    yield _check(
        "open files", facts.files >= FILES, f"{facts.files} for each process",
        f"{facts.files} for each process: with many containers files are opened again and again, or fail",
        f"raise the hard limit of RLIMIT_NOFILE to {FILES}: ulimit -Hn, or LimitNOFILE= of the service",
    )  # fmt: skip


def _serving(facts: Facts) -> Iterator[Finding]:
    daemon, default = facts.daemon, facts.default
    if daemon is not None and daemon.alive:
        yield _check(
            "daemon", _serves(daemon.place), f"pid {daemon.pid} serves at {daemon.place.path}",
            f"pid {daemon.pid} runs, but {daemon.place.path} does not answer",
            f"kill {daemon.pid}; lxcfs-py umount {daemon.place.path}; lxcfs-py serve {daemon.place.path}", FAIL,
        )  # fmt: skip
    else:
        yield Finding("daemon", OK, "none runs; pyproc-run starts one, and so does: lxcfs-py serve")
    places = {place.path: place for place in (default, *([daemon.place] if daemon else []))}
    for place in places.values():
        if place.fstype and place.fstype != FSTYPE:
            yield Finding(
                "mount point", WARN, f"{place.path}: {place.source} ({place.fstype}) is mounted there",
                "stop it (systemctl stop lxcfs), or serve elsewhere: lxcfs-py serve /run/lxcfs-py/mnt",
            )  # fmt: skip
        elif place.fstype and not place.answers and not (daemon and daemon.alive and place == daemon.place):
            yield Finding(
                "mount point", WARN, f"{place.path}: the mount of a daemon that has gone",
                f"lxcfs-py umount {place.path}",
            )  # fmt: skip


def _serves(place: Place) -> bool:
    return place.fstype == FSTYPE and place.answers


def table(found: Sequence[Finding]) -> str:
    """Return the findings for people: a line each, and the remedy."""
    width = max(len(finding.check) for finding in found)
    return "\n".join(_line(finding, width) for finding in found)


def _line(finding: Finding, width: int) -> str:
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{finding.level:<4}  {finding.check:<{width}}  {finding.text}{remedy}"


def fails(found: Iterable[Finding]) -> bool:
    """Say whether serving or running is impossible."""
    return any(finding.level == FAIL for finding in found)

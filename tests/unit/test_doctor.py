"""`doctor`: what it makes of a host's facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lxcfs_py import doctor, facts
from lxcfs_py.cgroup.layout import Hierarchy, Layout
from lxcfs_py.facts import Daemon, Facts, Place
from lxcfs_py.host import Host
from lxcfs_py.procfs import mountinfo, status

if TYPE_CHECKING:
    from pathlib import Path

ALL = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
V2 = Layout({"": Hierarchy(2, "/sys/fs/cgroup", "/", ALL)})
NAMES = ("cpu", "cpuacct", "cpuset", "memory", "blkio", "pids")
V1 = Layout({name: Hierarchy(1, f"/sys/fs/cgroup/{name}", "/", (name,)) for name in NAMES})
HYBRID = Layout({**V1.hierarchies, "": Hierarchy(2, "/sys/fs/cgroup/unified", "/", ("hugetlb",))})
NAMED = Layout({**V2.hierarchies, "name=systemd": Hierarchy(1, "/sys/fs/cgroup/systemd", "/", ("name=systemd",))})
PLACE = "/var/lib/lxcfs"
GOOD = Facts(
    uid=0, capabilities=(1 << 41) - 1, release="6.12.9-amd64", fuse="", pidfd=True, time_namespaces=True,
    translates_pids=True, layout=V2, enabled=dict.fromkeys((*NAMES, "hugetlb"), True), writable=True,
    swap_accounting=True, pressure=True, notifies=True, overlay=True, storage="/var/lib/pyproc",
    storage_fstype="ext4", files=1 << 20, daemon=None, default=Place(PLACE),
)  # fmt: skip
LIVE = Place(PLACE, "fuse.lxcfs-py", "lxcfs-py", answers=True)
FOREIGN = Place(PLACE, "fuse.lxcfs", "lxcfs", answers=True)
DEAD = LIVE.replace(answers=False)


def found(of: Facts) -> dict[str, doctor.Finding]:
    """Return the findings by check."""
    return {finding.check: finding for finding in doctor.findings(of)}


def test_a_host_that_has_everything() -> None:
    """Nothing is to be mended."""
    assert {finding.level for finding in doctor.findings(GOOD)} == {doctor.OK}


@pytest.mark.parametrize(
    ("changes", "check", "level", "remedy"),
    [
        ({"uid": 1000}, "root", "warn", "sudo"),
        ({"uid": 1000, "fuse": "Permission denied"}, "/dev/fuse", "warn", "sudo"),
        ({"capabilities": 0}, "CAP_SYS_ADMIN", "fail", "CAP_SYS_ADMIN"),
        ({"capabilities": ~(1 << 24)}, "CAP_SYS_RESOURCE", "warn", "CAP_SYS_RESOURCE"),
        ({"fuse": "No such file or directory"}, "/dev/fuse", "fail", "modprobe fuse"),
        ({"release": "6.8.12"}, "resend", "warn", "6.9"),
        ({"release": "5.10.0-33-amd64"}, "resend", "warn", "6.9"),
        ({"pidfd": False}, "pidfd", "fail", "5.3"),
        ({"time_namespaces": False}, "time namespaces", "warn", "CONFIG_TIME_NS"),
        ({"translates_pids": False}, "pid translation", "warn", "6.11"),
        ({"notifies": False}, "seccomp", "warn", "CONFIG_SECCOMP_FILTER"),
        ({"layout": Layout({})}, "cgroups", "fail", "mount -t cgroup2"),
        ({"writable": False}, "cgroups writable", "fail", "remount"),
        ({"layout": HYBRID, "swap_accounting": False}, "swap accounting", "warn", "swapaccount=1"),
        ({"pressure": False}, "pressure", "warn", "psi=1"),
        ({"layout": V1}, "pressure", "warn", "mount -t cgroup2"),
        ({"layout": V1, "enabled": {}}, "hugetlb", "warn", "CONFIG_CGROUP_HUGETLB"),
        ({"layout": V1}, "hugetlb", "warn", "mount -t cgroup -o hugetlb"),
        ({"overlay": False}, "overlay", "fail", "modprobe overlay"),
        ({"storage_fstype": "9p"}, "storage", "warn", "--storage"),
        ({"storage_fstype": "fuse.sshfs"}, "storage", "warn", "--storage"),
        ({"files": 1024}, "open files", "warn", "LimitNOFILE"),
        ({"default": FOREIGN}, "mount point", "warn", "systemctl stop lxcfs"),
        ({"default": DEAD}, "mount point", "warn", f"lxcfs-py umount {PLACE}"),
        ({"daemon": Daemon(7, alive=False, place=DEAD)}, "mount point", "warn", f"lxcfs-py umount {PLACE}"),
        ({"daemon": Daemon(7, alive=True, place=DEAD)}, "daemon", "fail", f"lxcfs-py umount {PLACE}"),
        ({"daemon": Daemon(7, alive=True, place=Place(PLACE))}, "daemon", "fail", "kill 7"),
    ],
)  # fmt: skip
def test_what_is_missing(changes: dict[str, object], check: str, level: str, remedy: str) -> None:
    """Each lack is found, as bad as it is, with what mends it."""
    finding = found(GOOD.replace(**changes))[check]
    assert finding.level == level
    assert remedy in finding.remedy


@pytest.mark.parametrize(("layout", "name"), [(V2, "v2"), (NAMED, "v2"), (HYBRID, "hybrid"), (V1, "v1")])
def test_the_layout(layout: Layout, name: str) -> None:
    """The layout is told by what has controllers; named hierarchies have none."""
    assert found(GOOD.replace(layout=layout))["cgroups"].text.startswith(f"{name}:")


def test_who_answers_for_a_controller() -> None:
    """Each controller is found in v1's hierarchy, else in cgroup2."""
    hybrid = found(GOOD.replace(layout=HYBRID))
    assert hybrid["memory"].text == "v1 at /sys/fs/cgroup/memory"
    assert hybrid["hugetlb"].text == "v2 at /sys/fs/cgroup/unified"
    assert found(GOOD)["cpuacct"].text == "v2 at /sys/fs/cgroup"


def test_a_switched_off_controller() -> None:
    """What the kernel's command line has switched off is switched on there."""
    layout = Layout({"": Hierarchy(2, "/sys/fs/cgroup", "/", ("cpu", "io"))})
    finding = found(GOOD.replace(layout=layout, enabled={"memory": False}))["memory"]
    assert (finding.level, "cgroup_enable=memory" in finding.remedy) == ("warn", True)
    assert found(GOOD.replace(layout=layout, enabled={}))["pids"].level == "warn"


def test_unknown_swap_accounting_is_no_fault() -> None:
    """Where no cgroup could tell, nothing is claimed."""
    assert found(GOOD.replace(swap_accounting=None))["swap accounting"].level == "ok"


def test_a_daemon_that_serves() -> None:
    """A live daemon is named with its mount point."""
    finding = found(GOOD.replace(daemon=Daemon(7, alive=True, place=LIVE), default=LIVE))["daemon"]
    assert (finding.level, finding.text) == ("ok", f"pid 7 serves at {PLACE}")


def test_only_failures_fail() -> None:
    """A warning does not make serving impossible."""
    assert not doctor.fails(doctor.findings(GOOD.replace(pressure=False)))
    assert doctor.fails(doctor.findings(GOOD.replace(pidfd=False)))


def test_the_table_has_a_line_a_check() -> None:
    """Each line has the level, the check, what it means and the remedy."""
    lines = doctor.table(doctor.findings(GOOD.replace(overlay=False))).splitlines()
    assert len(lines) == len(doctor.findings(GOOD))
    assert any(line.startswith("fail  overlay ") and "modprobe overlay" in line for line in lines)


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        ("/var/lib/x", "ext4"),
        ("/", "ext4"),
        ("/srv", "xfs"),
        ("/srv/a", "xfs"),
        ("/srvx", "ext4"),
        ("/srv/b/c", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, fstype: str) -> None:
    """The nearest mount above a path counts, the last of several at one place."""
    rows = [("/", "ext4"), ("/srv", "9p"), ("/srv", "xfs"), ("/srv/b", "tmpfs")]
    text = "".join(f"1 1 0:1 / {at} rw - {kind} none rw\n" for at, kind in rows)
    assert mountinfo.fstype_at(mountinfo.parse(text.encode()), path) == fstype


@pytest.mark.parametrize(
    ("line", "mask"), [(b"Name: x\nCapEff:\t00000000a80425fb\n", 0xA80425FB), (b"CapEff:\tx\n", 0), (b"", 0)]
)
def test_effective_capabilities(line: bytes, mask: int) -> None:
    """The mask is read as it is written, in hexadecimal."""
    assert status.effective(line) == mask


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 5000, '{"pid": Infinity, "start_ticks": 1, "mountpoint": ""}']
)
def test_a_broken_announcement(tmp_path: Path, text: str) -> None:
    """A daemon.json that is none names no daemon."""
    (tmp_path / "lxcfs-py").mkdir()
    (tmp_path / "lxcfs-py/daemon.json").write_text(text)
    assert facts.gather(Host(run=str(tmp_path)), "/nowhere").daemon is None


def test_facts_of_nothing(tmp_path: Path) -> None:
    """Where nothing can be read, facts are gathered all the same."""
    empty = facts.gather(Host(f"{tmp_path}/p", f"{tmp_path}/s", f"{tmp_path}/c", f"{tmp_path}/r"), "/nowhere")
    assert (empty.capabilities, dict(empty.layout.hierarchies), empty.daemon) == (0, {}, None)
    assert doctor.findings(empty)

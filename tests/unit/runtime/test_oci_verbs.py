"""The parts of the engine's verbs that decide."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import pytest

from lxcfs_py.errors import Error
from runtime import options, units
from runtime.images.progress import Progress
from runtime.images.store import Store
from runtime.process import descriptors
from runtime.verbs import exec as exec_
from runtime.verbs import export, features, ps, update

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5), ("1m30s", 90), ("500ms", 0.5), ("2", 2), ("1.5s", 1.5)])
def test_intervals(text: str, seconds: float) -> None:
    """Times are read as Go writes them."""
    assert units.interval(text, "--interval") == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "x", "5x", "s", "-1s"])
def test_no_interval(text: str) -> None:
    """What is no time, or none at all, is refused."""
    with pytest.raises(Error, match="not a time"):
        units.interval(text, "--interval")


def test_ps_keeps_the_containers_processes() -> None:
    """Of ps(1)'s table the heading and the lines of these pids stay; without that column it can't be told."""
    table = "UID          PID    PPID\nroot           1       0\nroot          17       1\n"
    assert ps.selected(table, {17, 99}) == "UID          PID    PPID\nroot          17       1\n"
    with pytest.raises(Error, match="no column PID"):
        ps.selected("CMD\nx\n", {1})


def test_update_by_options_and_what_stays() -> None:
    """Options name single limits; the others stay as they were."""
    parsed = update.VERB.read(("--memory", "64m", "--cpu-quota", "-1", "c"))
    assert parsed is not None
    new = update.asked(parsed)
    assert new == {"memory": {"limit": 64 << 20}, "cpu": {"quota": -1}}
    words = update.VERB.read(("-m", "64m", "--cpus", "1.5", "--cpu-shares", "512", "c"))
    assert words is not None
    cpu = {"shares": 512, "quota": 150_000, "period": 100_000}
    assert update.asked(words) == {"memory": {"limit": 64 << 20}, "cpu": cpu}
    words = update.VERB.read(("--cpus", "1", "--cpu-quota", "5000", "c"))
    assert words is not None
    with pytest.raises(Error, match="--cpus with --cpu-quota or --cpu-period: they say the same"):
        update.asked(words)
    old = {"memory": {"limit": 1, "swap": 2}, "pids": {"limit": 3}, "devices": []}
    both = {"memory": {"limit": 64 << 20, "swap": 2}, "pids": {"limit": 3}, "devices": [], "cpu": {"quota": -1}}
    assert update.merged(old, new) == both
    update.check({"memory": {"limit": 64 << 20, "swap": -1}}, runs=True)
    with pytest.raises(Error, match="-m 256m: more than --memory-swap 128m, which counts both; give both"):
        update.check({"memory": {"limit": 256 << 20, "swap": 128 << 20}}, runs=True)
    with pytest.raises(Error, match="-m 1m: too little"):
        update.check({"memory": {"limit": 1 << 20}}, runs=False)


def test_exec_adds_to_the_containers_process() -> None:
    """Capabilities and groups are added, the rest of the container's process stays."""
    sets = {"bounding": ["CAP_KILL"], "effective": [], "permitted": [], "inheritable": [], "ambient": []}
    config = {"process": {"env": ["A=1"], "user": {"uid": 1, "gid": 2, "additionalGids": [3]}, "capabilities": sets}}
    line = ("--cap", "net_raw", "-g", "7", "--no-new-privs", "-e", "B=2", "c", "true")
    parsed = exec_.VERB.read(line)
    assert parsed is not None
    found = exec_.process(config, parsed, {})
    assert found["capabilities"]["bounding"] == ["CAP_KILL", "CAP_NET_RAW"]
    assert found["capabilities"]["ambient"] == []
    assert (found["user"]["additionalGids"], found["noNewPrivileges"], found["env"]) == ([3, 7], True, ["A=1", "B=2"])


def test_global_options() -> None:
    """What stands before the verb is told from it, values and all."""
    line = ("--root", "/r", "--log=/l", "--log-format", "json", "--debug", "create", "--bundle", "/b", "c")
    assert options.split(line) == (line[:6], "create", line[7:])


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("", 0), ("x", 0), ("-1", 0), ("99999", 0)])
def test_sockets_of_the_caller(text: str, count: int) -> None:
    """LISTEN_FDS is a small number, or nothing."""
    assert descriptors.listening({"LISTEN_FDS": text}) == count


def test_features_are_whole() -> None:
    """All that the specification's version asks for is told, whatever this host has."""
    found = features.known()
    assert found.keys() == {
        "ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "annotations",
        "potentiallyUnsafeConfigAnnotations",
    }  # fmt: skip
    linux = found["linux"]
    assert linux.keys() == {
        "namespaces", "capabilities", "cgroup", "seccomp", "apparmor", "selinux", "intelRdt", "mountExtensions",
        "netDevices", "memoryPolicy",
    }  # fmt: skip
    assert linux["seccomp"].keys() == {"enabled", "actions", "operators", "archs", "knownFlags", "supportedFlags"}
    assert len(linux["seccomp"]["actions"]) == 9
    assert len(linux["seccomp"]["operators"]) == 7
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64"} <= set(linux["seccomp"]["archs"])
    assert all(linux[module]["enabled"] for module in ("seccomp", "apparmor", "selinux", "intelRdt", "netDevices"))
    assert {"time", "user"} < set(linux["namespaces"])
    assert {"rro", "idmap", "ridmap", "tmpcopyup", "rsymfollow"} < set(found["mountOptions"])


RUNCS = {
    "create": "bundle console-socket pid-file no-pivot no-new-keyring preserve-fds",
    "run": "bundle console-socket detach keep pid-file no-pivot no-new-keyring preserve-fds",
    "start": "", "state": "", "pause": "", "resume": "", "features": "",
    "kill": "all", "delete": "force", "ps": "format", "list": "format quiet", "spec": "bundle rootless",
    "events": "interval stats",
    "exec": "console-socket cwd env tty user additional-gids process detach pid-file process-label apparmor "
            "no-new-privs cap preserve-fds",
    "update": "resources blkio-weight cpu-period cpu-quota cpu-share cpu-rt-period cpu-rt-runtime cpuset-cpus "
              "cpuset-mems memory memory-reservation memory-swap pids-limit",
}  # fmt: skip


@pytest.mark.parametrize("verb", RUNCS)
def test_options_of_runc(verb: str) -> None:
    """Every verb of runc's that engines may use is there, with runc's options and the global ones."""
    module = importlib.import_module(f"runtime.verbs.{verb}")
    found = {name for option in module.VERB.all_options for name in option.flags}
    everywhere = ("root", "log", "log-format", "debug", "systemd-cgroup", "cgroup-manager")
    assert {f"--{name}" for name in (*RUNCS[verb].split(), *everywhere)} <= found


def test_a_container_to_export(tmp_path: Path) -> None:
    """It is found by the beginning of an id that was made up, as by all verbs; else what is said is of images."""
    (tmp_path / "0123456789ab").mkdir()
    places = ("--root", str(tmp_path), "--storage", str(tmp_path / "storage"))
    for text in ("0123456789ab", "0123"):
        parsed = export.VERB.read((*places, text))
        assert parsed is not None
        found, _ = export._source(parsed, Store(parsed["storage"]), Progress(quiet=True))
        assert found == "0123456789ab"
    parsed = export.VERB.read((*places, "4567"))
    assert parsed is not None
    with pytest.raises(Error, match="image '4567'"):
        export._source(parsed, Store(parsed["storage"]), Progress(quiet=True))

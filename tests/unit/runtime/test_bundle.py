"""What is taken for a bundle's configuration, and in which words the rest is refused."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.config import bundle
from runtime.kernel import syscalls as sc
from runtime.process import cgroups, namespaces
from tests.live import busybox

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = busybox.config("true")


def change(path: str, value: Any) -> dict[str, Any]:
    """Return the configuration with one field set."""
    found: Any = copy.deepcopy(WHOLE)
    *outer, last = path.split(".")
    at = found
    for name in outer:
        at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
    if isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return dict(found)


REFUSED: tuple[tuple[str, Any, str], ...] = (
    ("ociVersion", "2.0.0", "ociVersion: '2.0.0' is not 1.x"),
    ("ociVersion", 1, "ociVersion: not a string"),
    ("root", None, "root: missing"),
    ("root", {}, "root.path: missing"),
    ("process", None, "process: missing"),
    ("process.args", [], "process.args: empty"),
    ("process.args", "true", "process.args: not a list"),
    ("process.args", ["a", 1], "process.args[1]: not a string"),
    ("process.args", ["a\0b"], "process.args[0]: it has a zero byte"),
    ("process.cwd", "tmp", "process.cwd: 'tmp' is not an absolute path"),
    ("process.terminal", "yes", "process.terminal: not true or false"),
    ("process.user.uid", True, "process.user.uid: not a number"),
    ("process.rlimits", [{"type": "X", "soft": 1, "hard": 1}], "process.rlimits[0].type: 'X' is unknown"),
    ("process.rlimits", [{"type": "RLIMIT_AS", "soft": 1}], "process.rlimits[0].hard: missing"),
    ("process.scheduler", {"policy": "SCHED_X"}, "process.scheduler.policy: 'SCHED_X' is unknown"),
    ("process.ioPriority", {"class": "X"}, "process.ioPriority.class: 'X' is unknown"),
    ("linux.personality", {"domain": "BSD"}, "linux.personality.domain: 'BSD' is unknown"),
    ("linux.namespaces", [{"type": "x"}], "linux.namespaces[0].type: 'x' is unknown"),
    ("linux.namespaces", [{"type": "mount"}] * 2, "linux.namespaces[0].type: 'mount' is there twice"),
    ("linux.namespaces", [{"type": "pid"}], "linux.namespaces: there is no mount namespace"),
    ("linux.namespaces", [{"type": "mount", "path": "x"}], "linux.namespaces[0].path: 'x' is not an absolute path"),
    ("linux.timeOffsets", {"monotonic": {"secs": 1}}, "linux.timeOffsets: there is no new time namespace"),
    ("linux.rootfsPropagation", "x", "linux.rootfsPropagation: 'x' is unknown"),
    ("linux.sysctl", {"kernel.pid_max": "9"}, "linux.sysctl.kernel.pid_max: it would change the host"),
    ("linux.sysctl", {"net/../kernel/x": "9"}, "linux.sysctl.net/../kernel/x: it would change the host"),
    ("linux.devices", [{"type": "x", "path": "/dev/x"}], "linux.devices[0].type: 'x' is unknown"),
    ("linux.devices", [{"type": "c", "path": "/dev/x"}], "linux.devices[0].major: a device needs major and minor"),
    ("linux.resources.memory", {"limit": "1g"}, "linux.resources.memory.limit: not a number"),
    ("mounts.0", {"destination": "/a", "type": "bind"}, "mounts[0].source: a bind mount needs one"),
    ("mounts.0", {"type": "bind"}, "mounts[0].destination: missing"),
    ("hooks", {"poststop": [{"path": "x"}]}, "hooks.poststop[0].path: 'x' is not an absolute path"),
    ("hooks", {"prestart": [{"path": "/x", "timeout": 0}]}, "hooks.prestart[0].timeout: it must be more than 0"),
    ("mounts.0", {"destination": "/a", "source": "/", "options": ["bind", "idmap"]}, "mounts[0].uidMappings: ids"),
    ("process.selinuxLabel", "x", "process.selinuxLabel: 'x': this kernel runs without SELinux"),
    ("linux.mountLabel", "x", "linux.mountLabel: 'x': this kernel runs without SELinux"),
    ("linux.intelRdt", {}, "linux.intelRdt: there is no resctrl at /sys/fs/resctrl"),
    ("linux.netDevices", {"a b": {}}, "linux.netDevices.a b: 'a b' can't be a device's name"),
    ("linux.netDevices", {"eth0": {"name": "%d%d"}}, "linux.netDevices.eth0: '%d%d' can't be a device's name"),
    ("linux.netDevices", {"eth0": {"name": "x" * 16}}, "linux.netDevices.eth0: 'xxxxxxxxxxxxxxxx' can't be"),
    ("linux.memoryPolicy", {"nodes": "0"}, "linux.memoryPolicy.mode: missing"),
    ("linux.memoryPolicy", {"mode": "MPOL_X"}, "linux.memoryPolicy.mode: 'MPOL_X' is unknown"),
    ("linux.memoryPolicy", {"mode": "MPOL_BIND", "nodes": "a"}, "linux.memoryPolicy.nodes 'a': not a list"),
    ("linux.memoryPolicy", {"mode": "MPOL_BIND", "flags": ["x"]}, "linux.memoryPolicy.flags: 'x' is unknown"),
    ("linux.personality", {"domain": "LINUX", "flags": ["x"]}, "linux.personality.flags: none are known"),
    ("annotations", {"a": 1}, "annotations.a: not a string"),
)  # fmt: skip


@pytest.mark.parametrize(("field", "value", "said"), REFUSED)
def test_refused(field: str, value: Any, said: str) -> None:
    """What is wrong is named by its field, in one sentence."""
    with pytest.raises(Error) as caught:
        bundle.checked(change(field, value))
    assert caught.value.message.startswith(f"config.json: {said}")
    assert caught.value.exit_code == 125


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ociVersion", "1.9.0-rc"), ("unknown", {"x": [1]}), ("linux.unknown", 1), ("process.capabilities", None),
        ("linux.resources", None), ("mounts", None), ("hooks", None), ("process.rlimits", None),
        ("mounts.0", {"destination": "dev/x", "source": "tmpfs"}), ("linux.rootfsPropagation", "rshared"),
    ],
)  # fmt: skip
def test_taken(field: str, value: Any) -> None:
    """What the specification lets be left out, be null or be unknown is no error, and read without asking after."""
    found = bundle.checked(change(field, value))
    assert found["process"]["capabilities"].keys() == set(bundle.CAPABILITIES)
    assert found["linux"]["resources"]["devices"] is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "path", "x"]), inner),
    max_leaves=6,
)
FIELDS = (
    "process", "process.args", "process.user", "process.capabilities", "process.rlimits", "root", "mounts",
    "mounts.0", "mounts.0.options", "linux", "linux.namespaces", "linux.uidMappings", "linux.devices", "linux.sysctl",
    "linux.resources.memory", "linux.timeOffsets", "annotations", "linux.maskedPaths", "process.scheduler",
    "hooks", "hostname", "linux.netDevices", "linux.memoryPolicy", "linux.intelRdt", "linux.personality",
)  # fmt: skip


@given(st.sampled_from(FIELDS), JSON)
def test_anything_else_is_an_error(field: str, value: Any) -> None:
    """Whatever JSON stands in a field, the configuration is taken or refused with the one Error."""
    try:
        bundle.checked(change(field, value))
    except Error as error:
        assert error.message.startswith("config.json: ")  # noqa: PT017


def test_files(tmp_path: Path) -> None:
    """A bundle without a configuration, or with one that is not JSON, is named."""
    with pytest.raises(Error, match=r"config.json: no such file or directory"):
        bundle.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Error, match=r"config.json: not JSON"):
        bundle.load(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(WHOLE))
    assert bundle.load(str(tmp_path))["hostname"] == "box"


def test_a_mount_without_a_type() -> None:
    """A mount is a bind if its options or nothing says otherwise, and what its source says without either."""
    mounts = [
        {"destination": "/a", "source": "/x", "options": ["rbind"]},
        {"destination": "/b", "source": "/x", "type": "bind"},
        {"destination": "/c", "source": "tmpfs"},
    ]
    found = bundle.checked(change("mounts", mounts))["mounts"]
    assert [(each["type"], each["options"]) for each in found] == [
        ("bind", ["rbind"]), ("bind", ["bind"]), ("tmpfs", []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "path"),
    [("", "/pyproc/web"), ("a/b", "/pyproc/a/b"), ("/a//b/", "/a/b"), ("/docker/x", "/docker/x"), ("//a", "/a")],
)
def test_cgroups_path(asked: str, path: str) -> None:
    """An absolute path is what it says, others are below our own, by default by id."""
    assert cgroups.path(asked, "web") == path


@pytest.mark.parametrize("asked", ["/", "/a/../..", "../a", "system.slice:crio:web", "."])
def test_no_cgroups_path(asked: str) -> None:
    """Neither the top, nor what leads above it, nor a systemd unit is a container's cgroup."""
    with pytest.raises(Error, match=r"linux\.cgroupsPath"):
        cgroups.path(asked, "web")


def test_namespaces() -> None:
    """Those without a path are made, but for cgroup and time by clone3; those with one are joined."""
    spaces = [{"type": kind} for kind in ("mount", "pid", "cgroup", "time")] + [{"type": "network", "path": "/n"}]
    found = namespaces.decide({"namespaces": spaces})
    assert found.new == sc.CLONE_NEWNS | sc.CLONE_NEWPID
    assert found.join == (("network", "/n"),)
    assert found.kinds - found.fresh == {"network"}

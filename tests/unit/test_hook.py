"""What the hook and the wrapper decide, and what a container's start pays for them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py import ancestry, binding, hook, mountapi, oci, registry, wrapper
from lxcfs_py.binding import Asked
from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from tests.unit.runtime.test_startup import ALLOWED, BIN, imported

if TYPE_CHECKING:
    from collections.abc import Sequence

STATE = {"id": "web", "pid": 7, "bundle": "/b", "status": "creating"}
CONFIG: dict[str, Any] = {"root": {"path": "rootfs"}, "linux": {"namespaces": [{"type": "mount"}]}}


@pytest.mark.parametrize(
    ("state", "config", "expected"),
    [
        ({}, {}, ("web", 7, "/b/rootfs", "auto", True)),
        ({"pid": None}, {}, ("web", 0, "/b/rootfs", "auto", True)),
        ({}, {"root": {"path": "/images/web"}}, ("web", 7, "/images/web", "auto", True)),
        ({}, {"linux": {}}, ("web", 7, "/b/rootfs", "auto", False)),
        ({"annotations": {"io.lxcfs-py.view": "off"}}, {}, ("web", 7, "/b/rootfs", "off", True)),
        ({}, {"annotations": {"io.lxcfs-py.view": "require"}}, ("web", 7, "/b/rootfs", "require", True)),
        ({"annotations": None}, {"annotations": {"a": "b"}}, ("web", 7, "/b/rootfs", "auto", True)),
    ],
)
def test_what_is_asked(
    state: dict[str, Any], config: dict[str, Any], expected: tuple[str, int, str, str, bool]
) -> None:
    """Where the root is, which process, and what the annotation says, from the state and config.json."""
    assert hook.asked({**STATE, **state}, {**CONFIG, **config}) == Asked(*expected)


@pytest.mark.parametrize(
    "config", [{}, {"root": {}}, {"root": None}, {**CONFIG, "linux": None}, {**CONFIG, "annotations": [1]}]
)
def test_what_is_no_container_of_linux(config: dict[str, Any]) -> None:
    """Any other configuration is an Error, not a traceback."""
    with pytest.raises(Error, match=r"config\.json"):
        hook.asked(STATE, config)


@pytest.mark.parametrize(
    ("pid", "depth", "ancestors", "expected"),
    [
        (1, 2, {50: (50, 1), 40: (40,), 1: (1,)}, 50),  # runc
        (0, 2, {50: (50, 1), 40: (40,), 1: (1,)}, 50),  # crun
        (1, 2, {60: (60, 9), 50: (50, 1), 40: (40,)}, 50),  # by way of a shell
        (12, 2, {50: (50, 12), 20: (20, 1), 10: (10,)}, 50),  # runc, in a pod's pid namespace
        (0, 2, {50: (50, 12), 40: (40,)}, 50),  # crun there
        (0, 1, {50: (50,), 40: (40,), 1: (1,)}, 1),
        (5, 2, {40: (40,)}, 0),
    ],
)
def test_the_first_process(pid: int, depth: int, ancestors: dict[int, tuple[int, ...]], expected: int) -> None:
    """Of a hook's ancestors in its pid namespace it is the one that the runtime names, else the next."""
    assert ancestry.nearest(pid, depth, ancestors) == expected


def test_what_hangs_is_given_up() -> None:
    """What takes longer than it may is killed and said; so is what fails or dies."""
    assert hook.within(time.monotonic() + 60, lambda: None) == ""
    assert hook.within(time.monotonic() + 0.05, lambda: time.sleep(60)) == "no answer within 5 s"

    def fail() -> None:
        raise Error("it failed", "mend it")

    assert hook.within(time.monotonic() + 60, fail) == "it failed; mend it"
    assert "status 0x9" in hook.within(time.monotonic() + 60, lambda: os.kill(os.getpid(), 9))


def test_a_state_that_never_comes() -> None:
    """Nor is the state waited for for ever."""
    heard, said = os.pipe()
    with pytest.raises(TimeoutError):
        hook.read(heard, time.monotonic() + 0.01)
    os.write(said, b"all")
    os.close(said)
    assert hook.read(heard, time.monotonic() + 60) == b"all"
    os.close(heard)


def test_the_dead_are_forgotten(tmp_path: Path) -> None:
    """With a container that ended go others that have; one that lives, also by the same name, stays."""
    host = Host(run=str(tmp_path))
    ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
    alive = registry.Registration("alive", os.getpid(), ticks, {"": "/a"})
    registry.register(host, alive)
    for name in ("web", "other"):
        registry.register(host, alive.replace(id=name, init_start_ticks=ticks + 1))
    registry.forget_ended(host, "web")
    assert registry.ids(host) == ("alive",)
    registry.forget_ended(host, "alive")
    registry.forget_ended(host, "never")
    assert registry.ids(host) == ("alive",)
    registry.forget_ended(Host(run=str(tmp_path / "none")), "web")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--root /r create --bundle /b --pid-file p web", "/b"),
        ("--log-format json create --bundle=/b web", "/b"),
        ("run -b /b web", "/b"),
        ("create web", "."),
        ("start web", ""),
        ("delete --force web", ""),
        ("exec --process p web", ""),
        ("--version", ""),
        ("", ""),
    ],
)
def test_which_calls_bring_a_bundle(line: str, expected: str) -> None:
    """Only create and run do."""
    assert wrapper.bundle(line.split()) == expected


def test_hooks_are_added() -> None:
    """The hooks that a configuration has stay, and stay first."""
    ours, theirs = {"path": "ours"}, {"path": "theirs"}
    config = {"process": {}, "hooks": {"createRuntime": [theirs], "startContainer": [theirs]}}
    assert wrapper.hooked(config, ours) == {
        "process": {},
        "hooks": {"createRuntime": [theirs, ours], "startContainer": [theirs], "poststop": [ours]},
    }
    assert wrapper.hooked({"hooks": None}, ours)["hooks"] == {"createRuntime": [ours], "poststop": [ours]}


def wrapped(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the wrapper."""
    command = [BIN / "lxcfs-py", "runtime", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_wrapper_becomes_the_runtime(tmp_path: Path) -> None:
    """It hands on every argument and the exit code; a bundle it can't read is the runtime's to complain about."""
    runtime = tmp_path / "runtime"
    runtime.write_text('#!/bin/sh\necho "$@"\nexit 7\n')
    runtime.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"ociVersion": "1.0.2", "process": {"args": ["ä"]}}))
    done = wrapped(runtime, "--root", "/r", "create", "--bundle", tmp_path, "web", cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"--root /r create --bundle {tmp_path} web\n", "", 7)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["process"] == {"args": ["ä"]}
    assert [[each["path"] for each in hooks] for hooks in config["hooks"].values()] == [[str(BIN / "lxcfs-py")]] * 2
    done = wrapped(runtime, "create", "--bundle", tmp_path / "none", "web", cwd=tmp_path)
    assert done.returncode == 7
    assert len(done.stderr.splitlines()) == 1
    assert wrapped(runtime, "--version", cwd=tmp_path).stdout == "--version\n"
    assert wrapped(runtime, "--help", cwd=tmp_path).stdout == "--help\n"
    assert "RUNTIME" in wrapped("--help", cwd=tmp_path).stdout
    done = wrapped("/nonexistent", "start", "web", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (127, 1)
    assert wrapped(cwd=tmp_path).returncode != 0


@pytest.mark.parametrize("words", [["hook"], ["runtime", "true"]])
def test_imports(words: Sequence[str], tmp_path: Path) -> None:
    """What runs once a container imports nothing that takes milliseconds."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    code = {"hook": "from lxcfs_py import hook", "runtime": "from lxcfs_py import wrapper"}[words[0]]
    here = Path(__file__).parents[2]
    found = imported("-c", f"import sys; sys.path.append({str(here)!r}); {code}") - imported("-c", "import os, sys")
    light = {name for name in found if name.partition(".")[0] != "lxcfs_py"}
    assert light - ALLOWED <= {"select"}


def test_the_hook_of_engines() -> None:
    """What is installed for engines names our stages and gives up later than we do."""
    deploy = Path(__file__).parents[2] / "deploy/oci"
    found = json.loads((deploy / "hooks.d/50-lxcfs-py.json").read_text())
    assert tuple(found["stages"]) == oci.STAGES
    assert found["hook"] == oci.hook("/usr/local/bin/lxcfs-py")
    assert oci.SECONDS > hook.SECONDS


def test_all_mounts_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of the mounts fails, those before it go again, also if one of them does not; its error is told."""
    there: list[int] = []

    def move_mount(copy: int, _target: int, path: str) -> None:
        if copy == 3:
            raise OSError(errno.EPERM, "may not", path)
        there.append(copy)

    def detach(copy: int, path: str) -> None:
        if copy == 1:
            raise OSError(errno.EINVAL, "is none", path)
        there.remove(copy)

    monkeypatch.setattr(mountapi, "move_mount", move_mount)
    monkeypatch.setattr(mountapi, "detach", detach)
    paths = {"proc/stat": 1, "proc/uptime": 2, "proc/swaps": 3}
    with pytest.raises(PermissionError, match="/root/proc/swaps"):
        binding._attach(paths, paths, "/root")
    assert there == [1]


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_the_hook_without_stderr(stderr: str) -> None:
    """Where nobody can hear what it has to say, the hook's exit code is the same."""
    command = ["sh", "-c", f'"$0" hook </dev/null {stderr}; echo $?', str(BIN / "lxcfs-py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")

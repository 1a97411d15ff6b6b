"""What AppArmor is told of a container's commands, and what is said where the kernel has none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime.process import labels
from tests.live.box import Box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.busybox import Bundle, Runtime

pytestmark = pytest.mark.per_kernel

PROFILE = "lxcfs-py-test"
RULES = f"""
profile {PROFILE} {{
  /** mrix,
  /tmp/** w,
  deny /etc/hostname r,
}}
profile {PROFILE}-other {{
  /** mrix,
}}
"""
"""Nothing is executed that isn't in the container's tree: AppArmor calls that disconnected. No signal comes in."""
SECURITY = Path("/sys/kernel/security")
WHO = "cat /proc/self/attr/current; cat /etc/hostname"
UNKNOWN = "no such file or directory; is it loaded? apparmor_parser -r FILE loads one"


@pytest.fixture(scope="module")
def profile() -> Iterator[None]:
    """Load two small profiles."""
    mounted = (SECURITY / "apparmor").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "securityfs", "securityfs", SECURITY], check=True)
    subprocess.run(["/sbin/apparmor_parser", "--skip-cache", "--replace"], input=RULES, text=True, check=True)
    yield
    subprocess.run(["/sbin/apparmor_parser", "--remove"], input=RULES, text=True, check=True)
    if not mounted:
        subprocess.run(["umount", SECURITY], check=True)


@pytest.fixture
def confined(bundle: Bundle) -> Bundle:
    """Return a bundle with the profile, and with a file that this denies."""
    (bundle.root / "etc/hostname").write_text("box\n")
    bundle.process["apparmorProfile"] = PROFILE
    bundle.run("sleep 1000")
    return bundle


@pytest.mark.needs_apparmor
def test_create_and_exec(profile: None, runtime: Runtime, confined: Bundle) -> None:
    """The command has its profile and what enters has it too, or its own; the profile need not let us in."""
    confined.run(f"({WHO}) >/tmp/said 2>&1; sleep 1000")
    assert runtime.quietly("run", "-d", "--bundle", str(confined.write()), "c") == 0
    done = runtime("exec", "c", "sh", "-c", WHO, check=False)
    assert (done.stdout, done.returncode) == (f"{PROFILE} (enforce)\n", 1)
    assert "Permission denied" in done.stderr
    said = confined.root / "tmp/said"
    assert said.read_text() == done.stdout + done.stderr
    file = confined.path / "process"
    for asked, seen in (
        ({}, f"{PROFILE} (enforce)\n"),
        ({"apparmorProfile": f"{PROFILE}-other"}, f"{PROFILE}-other (enforce)\nbox\n"),
        ({"apparmorProfile": "unconfined"}, "unconfined\nbox\n"),
    ):
        whole = {"args": ["sh", "-c", WHO], "cwd": "/", "env": ["PATH=/bin"], **asked}
        file.write_text(json.dumps(whole))
        assert runtime("exec", "--process", str(file), "c", check=False).stdout == seen
    assert runtime("exec", "--apparmor", "unconfined", "c", "cat", "/etc/hostname").stdout == "box\n"
    file.write_text(json.dumps({"args": ["true"], "cwd": "/", "apparmorProfile": "nosuch"}))
    refused = runtime("exec", "--process", str(file), "c", check=False)
    assert (refused.returncode, UNKNOWN in refused.stderr) == (125, True)


@pytest.mark.needs_apparmor
def test_a_profile_that_is_not_loaded(profile: None, runtime: Runtime, confined: Bundle) -> None:
    """It is refused before anything is made; one that goes before the start fails that, and nothing runs without."""
    confined.process["apparmorProfile"] = "nosuch"
    refused = runtime("create", "--bundle", str(confined.write()), "c", check=False)
    assert (refused.returncode, runtime.status("c"), UNKNOWN in refused.stderr) == (125, "", True)
    confined.process["apparmorProfile"] = "lxcfs-py-gone"
    confined.run("touch /tmp/ran")
    gone = "profile lxcfs-py-gone { /** rwmix, }"
    parser = ["/sbin/apparmor_parser", "--skip-cache"]
    subprocess.run([*parser, "--replace"], input=gone, text=True, check=True)
    assert runtime.quietly("create", "--bundle", str(confined.write()), "c") == 0
    subprocess.run([*parser, "--remove"], input=gone, text=True, check=True)
    runtime("start", "c", check=False)
    assert runtime.quietly("delete", "--force", "c") == 0
    assert not (confined.root / "tmp/ran").exists()


@pytest.mark.needs_apparmor
def test_a_proc_that_is_none(profile: None, runtime: Runtime, confined: Bundle) -> None:
    """A label is not written to whatever somebody has mounted where the kernel's file was (CVE-2025-52881)."""
    assert runtime.quietly("run", "-d", "--bundle", str(confined.write()), "c") == 0
    pid = runtime.state("c")["pid"]
    script = "mount -t tmpfs tmpfs /proc && mkdir -p /proc/self/attr/apparmor && touch /proc/self/attr/apparmor/exec"
    subprocess.run(["nsenter", "-t", str(pid), "-m", "/bin/sh", "-c", script], env={"PATH": "/bin"}, check=True)
    refused = runtime("exec", "c", "touch", "/tmp/ran", check=False)
    assert "can't be said to the kernel" in refused.stderr
    assert not (confined.root / "tmp/ran").exists()


@pytest.mark.needs_apparmor
def test_option(profile: None, tmp_path: Path, time_scale: float) -> None:
    """pyproc-run takes a profile by docker's option, which says what is unknown."""
    box = Box(tmp_path, time_scale)

    def run(option: str) -> subprocess.CompletedProcess[str]:
        return box.run("--rm", "--proc-view=off", "--security-opt", option, "sh", "-c", WHO, check=False)

    assert run(f"apparmor={PROFILE}").stdout == f"{PROFILE} (enforce)\n"
    assert run("apparmor=unconfined").stdout.startswith("unconfined\n")
    below = box.run(
        "--rm", "--init", "--proc-view=off", "--security-opt", f"apparmor={PROFILE}", "sh", "-c", WHO, check=False
    )
    assert below.stdout == f"{PROFILE} (enforce)\n", below.stderr
    refused = run("apparmor=nosuch")
    assert (refused.returncode, UNKNOWN in refused.stderr) == (125, True)
    assert box.left() == []


def test_without_apparmor(runtime: Runtime, confined: Bundle, lane: str) -> None:
    """Where the kernel has no AppArmor a profile is refused; the guests are known to have it, and not to."""
    enabled = labels.has_module("apparmor")
    assert lane == "here" or enabled == (lane == "qemu")
    confined.process["apparmorProfile"] = "nosuch"
    refused = runtime("create", "--bundle", str(confined.write()), "c", check=False)
    said = UNKNOWN if enabled else "this kernel runs without AppArmor; leave it out"
    assert refused.returncode == 125
    assert f"config.json: process.apparmorProfile: 'nosuch': {said}" in refused.stderr


REDIRECTED = """
import os, subprocess, sys
from runtime.process import command, labels
labels.SELINUX = "/proc/self/oom_score_adj"
victim, evil, aside, init = sys.argv[1:]

def meanwhile():
    def mount(*arguments): subprocess.run(["mount", *arguments], check=True)
    mount("-t", "proc", "proc", aside)
    mount("-t", "tmpfs", "fake", "/proc")
    os.makedirs("/proc/self/fd")
    os.mknod("/proc/self/oom_score_adj")
    mount("-n", "--bind", "--no-canonicalize", victim, "/proc/self/oom_score_adj")
    for number in range(3, 64):
        os.symlink(evil, f"/proc/self/fd/{number}")

command.apply({
    "args": ["cat", f"{aside}/self/oom_score_adj"], "env": [], "noNewPrivileges": False, "selinuxLabel": "500",
    "user": {"uid": 0, "gid": 0, "additionalGids": []},
    "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable", "ambient"), ()),
}, "/bin/cat", meanwhile, init=init == "init")
"""
"""Nobody's label: another file of the same process's takes it, and keeps it over the execve."""


@pytest.mark.anywhere
@pytest.mark.parametrize("init", ["", "init"])
def test_a_proc_that_becomes_another(tmp_path: Path, init: str) -> None:
    """What is mounted over /proc once it was found right gets neither the label nor its own program executed.

    And the label is the command's, whoever it is a child of.
    """
    victim, evil, aside = (tmp_path / name for name in ("victim", "evil", "aside"))
    victim.touch()
    evil.write_text("#!/bin/sh\necho evil\n")
    evil.chmod(0o755)
    aside.mkdir()
    python = [sys.executable, "-c", REDIRECTED, str(victim), str(evil), str(aside), init]
    done = subprocess.run(["unshare", "-m", *python], capture_output=True, text=True, check=False)
    assert (done.stdout, victim.read_text()) == ("500\n", ""), done.stderr

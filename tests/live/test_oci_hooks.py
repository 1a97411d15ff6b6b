"""OCI's hooks: when they are run, and what becomes of a container whose hook fails."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

from tests.live.busybox import Bundle, Runtime, until

pytestmark = pytest.mark.anywhere  # programs that are run

TELL = 'read state; echo "$STAGE $(echo "$state" | sed \'s/.*"status": *"\\([a-z]*\\)".*/\\1/\')" >> $LOG'


def test_hooks(runtime: Runtime, bundle: Bundle) -> None:
    """Every stage is run at its time, in order, with the state on stdin; createContainer inside, before the pivot."""
    for stage in ("prestart", "createRuntime", "poststart", "poststop"):
        bundle.hook(stage, TELL.replace("$STAGE", f"{stage} 1"))
        bundle.hook(stage, TELL.replace("$STAGE", f"{stage} 2"))
    show = "read state; (echo createContainer $(readlink /proc/self/ns/mnt)"
    show += "; grep -c '/rootfs/proc ' /proc/self/mountinfo) >> $LOG"
    bundle.hook("createContainer", f"{show}; mount --bind /etc/hostname {bundle.root}/etc/bound")
    (bundle.root / "etc/bound").touch()
    bundle.hook("startContainer", "cat > /tmp/state; readlink /proc/self/ns/mnt > /tmp/ns")
    bundle.run("cat /etc/bound; readlink /proc/self/ns/mnt; cat /tmp/state; sleep 1000")
    log = bundle.path / "log"
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    lines = log.read_text().splitlines()
    assert lines[:4] == [
        "prestart 1 creating",
        "prestart 2 creating",
        "createRuntime 1 creating",
        "createRuntime 2 creating",
    ]
    inner = os.readlink(f"/proc/{runtime.state('c')['pid']}/ns/mnt")
    assert lines[4:] == [f"createContainer {inner}", "1"]
    runtime("start", "c")
    assert log.read_text().splitlines()[6:] == ["poststart 1 running", "poststart 2 running"]
    told = json.loads((bundle.root / "tmp/state").read_text())
    assert (told["id"], told["status"], told["bundle"]) == ("c", "created", str(bundle.path))
    assert (bundle.root / "tmp/ns").read_text().strip() == inner
    runtime("delete", "--force", "c")
    assert log.read_text().splitlines()[8:] == ["poststop 1 stopped", "poststop 2 stopped"]


@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_before_start(runtime: Runtime, bundle: Bundle, stage: str) -> None:
    """The container is not made, the hook and what it said are named, later hooks are not run, poststop is."""
    bundle.hook(stage, "echo out of order >&2; exit 3")
    bundle.hook(stage, "echo never >> $LOG")
    bundle.hook("poststop", "echo poststop >> $LOG")
    done = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
    assert done.returncode != 0
    assert re.search(rf"{stage} hook /bin/sh: exit code 3: out of order", done.stderr)
    assert runtime.status("c") == ""
    assert (bundle.path / "log").read_text() == "poststop\n"


def test_a_hook_that_takes_too_long(runtime: Runtime, bundle: Bundle) -> None:
    """It is killed after its timeout, and the container with it."""
    bundle.hook("createRuntime", "exec sleep 1000", timeout=1)
    began = time.monotonic()
    done = runtime("create", "--bundle", str(bundle.write()), "c", check=False)
    assert "still running after 1 s" in done.stderr
    assert time.monotonic() - began < 30 * runtime.scale


@pytest.mark.parametrize("stage", ["startContainer", "poststart"])
def test_a_hook_that_fails_at_start(runtime: Runtime, bundle: Bundle, stage: str) -> None:
    """The start is an error, and the container is stopped."""
    bundle.run("sleep 1000")
    bundle.hook(stage, "exit 4")
    assert runtime.quietly("create", "--bundle", str(bundle.write()), "c") == 0
    done = runtime("start", "c", check=False)
    assert (done.returncode != 0, "exit code 4" in done.stderr) == (True, True), done.stderr
    until(runtime, "c", "stopped")
    runtime("delete", "c")


def test_a_poststop_hook_that_fails(runtime: Runtime, bundle: Bundle) -> None:
    """It is a warning: the container is gone, and the others are run."""
    bundle.hook("poststop", "exit 5")
    bundle.hook("poststop", "echo second >> $LOG")
    runtime.quietly("create", "--bundle", str(bundle.write()), "c")
    done = runtime("delete", "--force", "c")
    assert "warning: poststop hook /bin/sh: exit code 5" in done.stderr
    assert (bundle.path / "log").read_text() == "second\n"

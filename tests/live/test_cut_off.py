"""What is cut off while it starts, by a failure, a kill or a boot."""

from __future__ import annotations

import json
import subprocess

import pytest

from runtime.kernel.removal import remove_tree
from tests.live.box import BIN, Box
from tests.live.test_living import until

pytestmark = pytest.mark.anywhere


@pytest.mark.parametrize("how", ["fail", "kill"])
def test_cut_off_while_it_starts_again(clean: Box, name: str, how: str) -> None:
    """Whatever step a start again ends at, the container is there, ended, and starts the next time with its files."""
    clean.run("-d", "--name", name, "--proc-view", "off", "--", "sh", "-c", "echo x >> /root/n")
    clean.pyproc("wait", name)
    for count, step in enumerate((0, 1, 2, 3, 4, 12, 30, 60), 2):
        command = [str(BIN / "pyproc"), "start", *clean.places, name]
        stop = {"PYPROC_TEST_STOP": f"{how}:{step}"}
        done = subprocess.run(
            command, env={**clean.environment, **stop}, stdin=-3, capture_output=True, timeout=60 * clean.scale
        )
        assert done.returncode not in (0, 1), (step, done)
        clean.run("--rm", "--proc-view", "off", "--", "true")  # sweeps what was begun and never was
        assert clean.ids() == [name], step
        assert clean.pyproc("start", "-a", name).returncode == 0, step
        clean.pyproc("cp", f"{name}:/root/n", str(clean.base / "n"))
        assert (clean.base / "n").read_text() == "x\n" * count


def test_a_start_that_is_cut_off_before_its_command(clean: Box, name: str) -> None:
    """Killed between making a container and starting it, pyproc-run leaves none that waits for ever."""
    plan = clean.run("--dry-run", "--proc-view", "off", "--", "sleep", "60").stdout.splitlines()
    assert plan[-1] == "execve sleep 60" and "filter" in plan[-2]
    stop = {"PYPROC_TEST_STOP": f"kill:{len(plan) - 2}"}
    done = clean.run("-d", "--name", name, "--proc-view", "off", "--", "sleep", "60", check=False, **stop)
    assert done.returncode == 137
    until(clean, lambda: json.loads(clean.pyproc("list", "--json").stdout)[0]["status"] == "stopped")
    clean.run("--rm", "--proc-view", "off", "--", "true")
    assert clean.left() == []


def test_after_a_boot(clean: Box, name: str) -> None:
    """Whatever verb asks first knows a container whose state went with the boot."""
    clean.run("-d", "--name", name, "--", "sh", "-c", "echo said; echo x > /root/f")
    clean.pyproc("wait", name)
    until(clean, lambda: not [path for path in clean.left() if "/cgroup/" in path])
    for verb, operands, shown in (
        ("inspect", (name,), '"Status": "exited"'),
        ("logs", (name,), "said"),
        ("diff", (name,), "A /root/f"),
        ("state", (name,), "stopped"),
        ("update", ("-m", "64m", name), ""),
        ("stop", (name,), name),
        ("cp", (f"{name}:/root/f", str(clean.base / "f")), ""),
        ("generate", ("systemd", name), "ExecStart"),
        ("rename", (name, "other"), ""),
        ("rename", ("other", name), ""),
        ("start", (name,), name),
    ):
        remove_tree(f"{clean.base}/state/{name}")
        assert shown in clean.pyproc(verb, *operands).stdout, verb
    clean.pyproc("wait", name)
    until(clean, lambda: not [path for path in clean.left() if "/cgroup/" in path])
    for verb, text in (("commit", "has no image"), ("wait", "exit code is not known")):
        remove_tree(f"{clean.base}/state/{name}")
        refused = clean.pyproc(verb, name, check=False)
        assert (refused.returncode, text in refused.stderr) == (1, True), refused.stderr
    remove_tree(f"{clean.base}/state/{name}")
    clean.pyproc("rm", name)


def test_a_start_in_the_background_that_is_cut_off(clean: Box) -> None:
    """A detached start that fails or is killed says so by its exit code, and leaves nothing."""
    for step in (0, 3, 40):
        done = clean.run(
            "-d", "--proc-view", "off", "--", "sleep", "60", check=False, PYPROC_TEST_STOP=f"fail:{step}"
        )
        assert (done.returncode, f"step {step}" in done.stderr, clean.left()) == (125, True, []), done.stderr
        done = clean.run(
            "-d", "--proc-view", "off", "--", "sleep", "60", check=False, PYPROC_TEST_STOP=f"kill:{step}"
        )
        assert done.returncode == 137, done.stderr
        until(clean, lambda: not clean.left() or (clean.run("--rm", "--proc-view", "off", "--", "true") and None))

"""What SELinux is told of containers, and that it holds them to it: by a small policy of its own."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live import selinux

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.live.busybox import Bundle, Runtime

pytestmark = pytest.mark.needs_selinux

LABEL, OTHER = "system_u:system_r:container_t:s0:c1,c2", "system_u:system_r:other_t:s0:c1,c2"
FILES, SECRET = "system_u:object_r:container_file_t:s0:c1,c2", "system_u:object_r:secret_t:s0"
WHO = "cat /proc/self/attr/current; echo; cat /etc/secret; cat /etc/hostname"
ATTRIBUTE = "security.selinux"
UNKNOWN = "invalid argument; has the policy such a label?"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Have the kernel go by a small policy; it can't be rid of one again."""
    directory = tmp_path_factory.mktemp("policy")
    subprocess.run(["mount", "-t", "selinuxfs", "selinuxfs", selinux.MOUNT], check=True)
    selinux.load(directory, "container_t", "other_t")
    selinux.enforce(on=True)
    yield directory
    selinux.enforce(on=False)
    subprocess.run(["umount", selinux.MOUNT], check=True)


@pytest.fixture
def confined(policy: Path, bundle: Bundle) -> Bundle:
    """Return a bundle with labels, and with a file that these are denied."""
    for name, label in (("hostname", FILES), ("secret", SECRET)):
        (bundle.root / "etc" / name).write_text("box\n")
        os.setxattr(bundle.root / "etc" / name, ATTRIBUTE, label.encode())
    bundle.process["selinuxLabel"] = LABEL
    bundle.linux["mountLabel"] = FILES
    bundle.run(f"({WHO}) >/dev/shm/said 2>&1; ls /proc/acpi /sys/firmware >>/dev/shm/said 2>&1; sleep 1000")
    return bundle


def label(path: Path) -> str:
    """Return a file's label."""
    return os.getxattr(path, ATTRIBUTE).decode().rstrip("\0")


def test_create_and_exec(runtime: Runtime, confined: Bundle) -> None:
    """The command has its label and what enters has it too, or its own; each is denied what the policy denies it.

    The container's own file systems have the label of its files.
    """
    assert runtime.quietly("run", "-d", "--bundle", str(confined.write()), "c") == 0
    inside = Path(f"/proc/{runtime.state('c')['pid']}/root")
    done = runtime("exec", "c", "sh", "-c", WHO, check=False)
    assert done.stdout == f"{LABEL}\0\nbox\n", done
    assert done.stderr == "cat: can't open '/etc/secret': Permission denied\n"
    said = (inside / "dev/shm/said").read_text()
    who = done.stdout.partition("box")[0] + done.stderr + "box\n"
    assert said == f"{who}/proc/acpi:\n\n/sys/firmware:\n", "what is hidden by empty directories may be read"
    own = ("dev", "dev/shm", "dev/shm/said", "dev/pts", "dev/pts/ptmx", "dev/mqueue", "dev/null", "sys/firmware")
    assert {name: label(inside / name) for name in own} == dict.fromkeys(own, FILES)
    assert label(inside / "proc") == label(inside / "sys") == selinux.HOST
    file = confined.path / "process"
    command = ("cat", "/proc/self/attr/current")
    for asked, seen in (({}, LABEL), ({"selinuxLabel": OTHER}, OTHER)):
        file.write_text(json.dumps({"args": command, "cwd": "/", "env": ["PATH=/bin"], **asked}))
        assert runtime("exec", "--process", str(file), "c").stdout == f"{seen}\0"
    assert runtime("exec", "--process-label", OTHER, "c", *command).stdout == f"{OTHER}\0"
    refused = runtime("exec", "--process-label", "u:r:nosuch_t:s0", "c", "true", check=False)
    assert (refused.returncode, UNKNOWN in refused.stderr) == (125, True)


@pytest.mark.parametrize("field", ["process.selinuxLabel", "linux.mountLabel"])
def test_a_label_that_is_unknown(runtime: Runtime, confined: Bundle, field: str) -> None:
    """It is refused before anything is made, by a sentence that names it."""
    part, _, name = field.partition(".")
    confined.config[part][name] = "system_u:system_r:nosuch_t:s0"
    refused = runtime("create", "--bundle", str(confined.write()), "c", check=False)
    assert (refused.returncode, runtime.status("c")) == (125, "")
    assert f"{field}: 'system_u:system_r:nosuch_t:s0': {UNKNOWN}" in refused.stderr


def test_a_label_that_goes(policy: Path, runtime: Runtime, confined: Bundle) -> None:
    """One that the policy has lost before the start fails that, and nothing runs without."""
    confined.process["selinuxLabel"] = "system_u:system_r:gone_t:s0"
    confined.run("touch /tmp/ran")
    selinux.load(policy, "container_t", "other_t", "gone_t")
    assert runtime.quietly("create", "--bundle", str(confined.write()), "c") == 0
    selinux.load(policy, "container_t", "other_t")
    runtime("start", "c", check=False)
    assert runtime.quietly("delete", "--force", "c") == 0
    assert not (confined.root / "tmp/ran").exists()


def test_keyring(runtime: Runtime, confined: Bundle) -> None:
    """The session keyring is labelled as the command, which could not use it otherwise."""
    confined.run("sleep 1000")
    assert runtime.quietly("run", "-d", "--bundle", str(confined.write()), "c") == 0
    rows = [line.split() for line in Path("/proc/keys").read_text().splitlines() if " _ses.c:" in line]
    assert len(rows) == 1
    found = ctypes.create_string_buffer(200)
    keyctl, get_security = 250, 17  # x86-64; include/uapi/linux/keyctl.h
    assert ctypes.CDLL(None, use_errno=True).syscall(keyctl, get_security, int(rows[0][0], 16), found, 200) > 0
    assert found.value.decode() == LABEL

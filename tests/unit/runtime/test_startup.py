"""Start-up cost is a feature."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py import json_text

BIN = Path(sys.executable).parent
ALLOWED = {"__future__", "_blake2", "_ctypes", "_json", "_socket", "_struct", "errno", "fcntl", "gc"}
"""What a start may import of the standard library, beside what every interpreter has: 1 ms in all."""
OURS = {
    "lxcfs_py.cgroup.v1",
    "lxcfs_py.cgroup.v2",
    "runtime.help",
    "runtime.kernel.init",
    "runtime.process.terminal",
    "runtime.verbs",
}
"""What of ours a plain start has no use for before the child exists."""


def imported(*command: str) -> set[str]:
    """Return what a Python command imports, by -X importtime."""
    done = subprocess.run(
        [sys.executable, "-IS", "-X", "importtime", *command], capture_output=True, text=True, check=True
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_starting_imports_nothing_heavy() -> None:
    """Up to the clone pyproc-run imports nothing that takes milliseconds, and nothing it does not use."""
    command = ("--dry-run", "--rootfs", "/", "-m", "256m", "--cpus", "1", "--proc-view", "off", "--", "true")
    found = imported(str(BIN / "pyproc-run"), *command) - imported("-c", "import os")
    assert {name for name in found if name.partition(".")[0] not in ("lxcfs_py", "runtime")} == ALLOWED
    assert not found & OURS


@pytest.mark.parametrize("verb", ["create", "start", "state", "kill", "delete", "exec"])
def test_what_engines_call_imports_nothing_heavy(verb: str, tmp_path: Path) -> None:
    """Podman calls the runtime three times a container, containerd four times: no verb imports what takes long."""
    command = (verb, "--root", str(tmp_path), *(("--bundle", str(tmp_path)) if verb == "create" else ()), "nosuch")
    line = [
        sys.executable,
        "-IS",
        "-X",
        "importtime",
        BIN / "pyproc",
        *command,
        *(["true"] if verb == "exec" else []),
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert "not exist" in done.stderr or "no such file" in done.stderr
    found = {each.rpartition("|")[2].strip() for each in done.stderr.splitlines() if each.startswith("import time:")}
    found -= imported("-c", "import os")
    there = {name for name in found if name.partition(".")[0] not in ("lxcfs_py", "runtime")}
    assert there <= ALLOWED | {"select"}


def test_the_launchers_start_without_site() -> None:
    """The installed programs have an interpreter without site, and find the packages all the same."""
    for name in ("pyproc-run", "pyproc"):
        assert (BIN / name).read_bytes().split(b"\n")[0].endswith(b" -IS")
        done = subprocess.run([BIN / name, "--version"], capture_output=True, text=True, check=True, env={})
        assert done.stdout.startswith(f"{name} ")


def test_a_launcher_that_is_linked_to(tmp_path: Path) -> None:
    """A link to a launcher starts the program it leads to."""
    os.symlink(BIN / "pyproc-run", tmp_path / "run")
    done = subprocess.run([tmp_path / "run", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pyproc-run ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_is_json(value: object) -> None:
    """What is written and read without the json module is what that writes and reads."""
    assert json_text.dumps(value) == json.dumps(value).encode()
    assert json_text.loads(json.dumps(value, indent=1, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"1 2", b"\xff", b"[" * 100_000, b'"\n"', b"x", b'{"a"}'])
def test_what_is_not_json(text: bytes) -> None:
    """Anything but one whole JSON text is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011  (json.decoder words some of them)
        json_text.loads(text)

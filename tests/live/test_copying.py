"""Copies out of containers and into them, whoever made what is copied."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.live.test_living import popen, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live.box import Box


pytestmark = pytest.mark.anywhere


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a directory with a tree to copy, and one to copy to."""
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/f").write_text("text")
    (tmp_path / "in/sub/f").chmod(0o640)
    os.chown(tmp_path / "in/sub/f", 7, 8)
    os.symlink("/etc/shadow", tmp_path / "in/link")
    os.link(tmp_path / "in/sub/f", tmp_path / "in/other")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize("running", [True, False])
def test_copies(clean: Box, name: str, files: Path, running: bool) -> None:
    """Trees go in and come out as they were, running or not; links stay links, owners are root's unless kept."""
    clean.run("-d", "--name", name, "--", "sleep", "1000" if running else "0")
    if not running:
        clean.pyproc("wait", name)
    clean.pyproc("cp", str(files / "in"), f"{name}:/root/new")
    clean.pyproc("cp", f"{files}/in/.", f"{name}:/root/new")
    clean.pyproc("cp", "-a", f"{files}/in", f"{name}:/root/new")
    clean.pyproc("cp", f"{name}:/root/new", str(files / "out"))
    for place, owner in (("out/new", 0), ("out/new/in", 0)):
        there = files / place
        assert (there / "sub/f").read_text() == "text" and os.readlink(there / "link") == "/etc/shadow"
        found = (there / "sub/f").stat()
        assert (found.st_mode & 0o7777, found.st_uid, found.st_ino) == (0o640, owner, (there / "other").stat().st_ino)
    clean.pyproc("cp", "-a", f"{name}:/root/new/in/sub/f", str(files / "out/kept"))
    assert ((files / "out/kept").stat().st_uid, (files / "out/kept").stat().st_gid) == (7, 8)
    with popen(clean, "cp", f"{name}:/root/new/sub", "-") as sent:
        assert sent.stdout is not None
        with tarfile.open(fileobj=sent.stdout, mode="r|") as tar:
            assert [member.name for member in tar] == ["sub", "sub/f"]
    for source, target, text in (
        (f"{name}:/none", str(files), "none"),
        (str(files / "in"), f"{name}:/root/new/other", "no directory can replace"),
        (f"{files}/in/other", f"{name}:/no/such/", "no such directory"),
        (f"{name}:/root/new", f"{name}:/x", "two containers"),
    ):  # fmt: skip
        refused = clean.pyproc("cp", source, target, check=False)
        assert refused.returncode and text in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr


def test_copies_of_what_is_hostile(clean: Box, name: str, files: Path) -> None:
    """No link of the container leads out of it, no device of it comes to the host, and no tar climbs."""
    secret = files / "secret"
    secret.mkdir()
    (secret / "s").write_text("the host's")
    script = f"ln -s {secret} /root/out; mknod /root/null c 1 3; chmod u+s /usr/bin/env 2>&-; sleep 1000"
    clean.run("-d", "--name", name, "--", "sh", "-c", script)
    until(clean, lambda: clean.pyproc("exec", name, "test", "-e", "/root/null", check=False).returncode == 0)
    assert clean.pyproc("cp", f"{name}:/root/out/s", str(files / "out"), check=False).returncode == 1
    assert clean.pyproc("cp", "-L", f"{name}:/root/out", str(files / "out"), check=False).returncode == 1
    clean.pyproc("cp", f"{files}/in/other", f"{name}:/root/out/x", check=False)
    assert os.listdir(secret) == ["s"]
    refused = clean.pyproc("cp", f"{name}:/root/null", str(files / "out"), check=False)
    assert (refused.returncode, "a device, which would be the host's" in refused.stderr) == (1, True)
    assert os.listdir(files / "out") == []
    for member in ("../up", "/abs"):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(member))
        given = popen(clean, "cp", "-", f"{name}:/tmp", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        _, said = given.communicate(data.getvalue(), timeout=60 * clean.scale)
        assert given.returncode == 1 and member.encode() in said

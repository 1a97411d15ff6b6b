"""What of the host's /etc is hidden from a container that has the host's system as its root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runtime.root import rootfs
from runtime.root.beneath import Beneath

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_secrets(tmp_path: Path) -> None:
    """What others can't read at any depth, directories they can't list or enter as a whole, and what is known."""
    modes = {
        "shadow": 0o640, "passwd": 0o644, "db/15/main/hba.conf": 0o640, "db/15/main/db.conf": 0o644,
        "mail/sasl_passwd": 0o600, "mail/main.cf": 0o644, "ssl/private/key": 0o644, "ssh/sshd_config": 0o644,
        "closed/file": 0o644, "listed/file": 0o644, "entered/file": 0o644, "hosts": 0o644,
    }  # fmt: skip
    for name, mode in modes.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(mode)
    for name, mode in (("closed", 0o700), ("listed", 0o754), ("entered", 0o751), ("db", 0o1755)):
        os.chmod(tmp_path / name, mode)
    (tmp_path / "link").symlink_to("shadow")
    (tmp_path / "db/up").symlink_to("..")
    found = rootfs.secrets(str(tmp_path))
    assert sorted(found) == [
        "closed", "db/15/main/hba.conf", "entered", "hosts", "listed", "mail/sasl_passwd", "shadow", "ssh",
        "ssl/private",
    ]  # fmt: skip
    assert len(found) == len(set(found))


def test_where_they_are_hidden() -> None:
    """They are hidden in the layer over /etc, where that is an overlay; a link has none of its own."""
    secrets = ("shadow", "db/conf")
    for target, hidden in (("", (("etc", secrets),)), ("usr/etc", ())):
        _, steps = rootfs.steps((), "/base", rootfs.Facts((("usr", ""), ("etc", target)), secrets, "ext4"), ())
        assert [step.hidden for step in steps if isinstance(step, Beneath)] == [hidden]


def test_more_directories_than_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not looked into is hidden, never shown."""
    (tmp_path / "a/b/c").mkdir(parents=True)
    monkeypatch.setattr(rootfs, "MOST", 2)
    assert rootfs.secrets(str(tmp_path)) == ("a/b",)

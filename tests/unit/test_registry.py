"""Registrations: whole or not at all, and gone without a trace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lxcfs_py import registry
from lxcfs_py.errors import Error
from lxcfs_py.host import Host

if TYPE_CHECKING:
    from pathlib import Path

WEB = registry.Registration("web", 7, 42, {"": "/pyproc/web"}, -5)


def test_written_is_read(tmp_path: Path) -> None:
    """What is registered is loaded and listed; a second writing replaces it; afterwards it is unknown."""
    host = Host(run=str(tmp_path))
    for registration in (WEB, WEB.replace(init_pid=8)):
        registry.register(host, registration)
        assert registry.load(host, "web") == registration
    assert registry.ids(host) == ("web",)
    registry.unregister(host, "web")
    registry.unregister(host, "web")
    with pytest.raises(Error, match="not registered"):
        registry.load(host, "web")


def test_a_writer_that_was_killed_leaves_nothing_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a writer leaves that died before it was done is no registration, and goes with the container."""
    host = Host(run=str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", lambda *_paths: None)
        registry.register(host, WEB)
    assert registry.ids(host) == ()
    assert os.listdir(registry.directory(host)) != []
    registry.unregister(host, "web")
    assert os.listdir(registry.directory(host)) == []

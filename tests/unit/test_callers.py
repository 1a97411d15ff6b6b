"""What is remembered of a caller's container is of that container, as it is now."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from lxcfs_py.container import Callers, Init
from lxcfs_py.files import Files
from lxcfs_py.host import Host
from lxcfs_py.lifeline import Lifeline

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAMESPACE = "pid:[5]"


def test_only_what_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks gets the same container as long as its first process is in the same cgroups; another one when that
    was moved, and when the namespace's number is another's, though its cgroups have the same names; and none when it
    has ended.
    """
    file = tmp_path / "7/cgroup"
    file.parent.mkdir()
    monkeypatch.setattr(Callers, "namespace", lambda _self, _pid: NAMESPACE)
    callers = Callers(Host(proc=str(tmp_path)), Files(10))

    def begin(start: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(["sleep", "1000"])
        callers._inits.put(NAMESPACE, Init(7, start, 0, (NAMESPACE,)), Lifeline(process.pid))
        return process

    def end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def found(path: str) -> str:
        file.write_text(f"0::{path}\n")
        container = callers.container(os.getpid())
        assert container is not None
        assert container.cgroup.paths == {"": path.removesuffix("/init.scope")}
        assert callers.container(1) is container
        return container.key

    first = begin(100)
    assert {found(path) for path in ("/a", "/b/c", "/a", "/a/init.scope")} == {f"{NAMESPACE}:7@100"}
    end(first)
    assert callers.container(1) is None
    second = begin(200)
    assert found("/a") == f"{NAMESPACE}:7@200"
    end(second)
    assert callers.container(1) is None

"""Completion and the pages, made from the lists of options and verbs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from runtime import claims, verbs
from runtime import help as helps
from runtime.images.reference import parse

TOP = Path(__file__).parents[3]
OF_CONTAINERS = {
    "attach", "cp", "delete", "events", "exec", "generate", "inspect", "kill", "logs", "pause", "ps", "rename",
    "restart", "resume", "start", "state", "stats", "stop", "top", "update", "wait",
}  # fmt: skip
OF_IMAGES = {"export", "images", "rmi"}


def completed(args: list[str], begun: str) -> list[str]:
    """Return what a shell would offer."""
    complete = ShellComplete(helps.group(), {}, "pyproc", "_PYPROC_COMPLETE")
    return [item.value for item in complete.get_completions(args, begun)]


def test_every_verb_completes() -> None:
    """A verb is found by its beginning."""
    assert set(completed([], "")) >= set(verbs.VERBS)
    assert completed([], "res") == ["restart", "resume"]


@pytest.mark.parametrize("verb", sorted(OF_CONTAINERS))
def test_containers_complete(verb: str, tmp_path: Path) -> None:
    """What takes a container completes its name, in the place the line names."""
    os.close(claims.claim(str(tmp_path), "web"))
    assert completed(["--root", str(tmp_path), verb, *(["systemd"] if verb == "generate" else [])], "w") == ["web"]
    assert completed([verb, "--root", str(tmp_path)], "w") == ["web"]


@pytest.mark.parametrize("verb", sorted(OF_IMAGES))
def test_images_complete(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes an image completes its name, short and whole; a damaged store offers nothing."""
    from runtime.images import catalog, store

    name = str(parse("alpine:3.20"))
    monkeypatch.setattr(store.Store, "entries", lambda _self: (name,))
    monkeypatch.setattr(catalog, "name", lambda entry: entry)
    assert completed([verb, "--storage", str(tmp_path)], "alp") == ["alpine:3.20"]
    monkeypatch.setattr(store.Store, "entries", lambda _self: 1 / 0)
    assert completed([verb, "--storage", str(tmp_path)], "alp") == []


def test_every_verb_is_in_the_pages(tmp_path: Path) -> None:
    """The manual has each verb, with each of its options; each shell has its completion."""
    subprocess.run([sys.executable, TOP / "deploy/pages.py", tmp_path], env={"PYTHONPATH": str(TOP)}, check=True)
    text = (tmp_path / "man/man8/pyproc.8").read_text()
    for name, command in helps.group().commands.items():
        assert f".SS {name}\n" in text
        for parameter in command.params:
            assert all(flag.replace("-", "\\-") in text for flag in parameter.opts if flag.startswith("-"))
    for path in (
        "bash-completion/completions/pyproc",
        "zsh/site-functions/_pyproc",
        "fish/vendor_completions.d/pyproc.fish",
    ):
        assert "_PYPROC_COMPLETE" in (tmp_path / path).read_text()

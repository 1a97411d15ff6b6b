"""What the image of a container says of itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.images import change, diff
from runtime.images.commit import Wish, configuration
from runtime.images.manifest import Config
from runtime.images.merge import Asked, kept
from runtime.images.pack import Pack
from runtime.root.lower import Lower
from runtime.verbs.history import printable, steps

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

OF_IMAGE = Config(("/e",), ("c",), ("PATH=/bin", "A=1"), "bob", "/w", ("/data",))
BASE = {
    "architecture": "amd64", "os": "linux", "container": "x", "created": "then", "author": "they",
    "config": {"Cmd": ["old"], "Healthcheck": {"Test": ["NONE"]}},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:1"]},
    "history": [{"created_by": "base"}, {"created_by": "CMD", "empty_layer": True}],
}  # fmt: skip
ENV = ("PATH=/bin", "HOSTNAME=web", "TERM=xterm", "A=2", "B=3")


@pytest.mark.parametrize(
    ("asked", "entrypoint", "cmd"),
    [
        (Asked(), ["/e"], ["c"]),
        (Asked(args=("x", "y")), ["/e"], ["x", "y"]),
        (Asked(args=("x",), entrypoint="/f"), ["/f"], ["x"]),
        (Asked(entrypoint="/f"), ["/f"], []),
        (Asked(args=("x",), entrypoint=""), [], ["x"]),
    ],
)
def test_what_was_run_is_kept(asked: Asked, entrypoint: list[str], cmd: list[str]) -> None:
    """The new image does what the container did."""
    found = kept(OF_IMAGE, asked.replace(hostname="web"), ENV, ("/own",))
    assert (found["Entrypoint"], found["Cmd"]) == (entrypoint, cmd)
    assert (found["User"], found["WorkingDir"], found["Volumes"]) == ("bob", "/w", {"/data": {}, "/own": {}})


def test_what_every_container_is_given_is_not_kept() -> None:
    """Name, terminal and the usual PATH are no part of an image, unless its own image says the same."""
    assert kept(OF_IMAGE, Asked(hostname="web"), ENV, ())["Env"] == ["PATH=/bin", "A=2", "B=3"]
    own = OF_IMAGE.replace(env=("TERM=xterm",))
    assert kept(own, Asked(hostname="web", user="al", workdir="/x"), ENV, ())["Env"][1] == "TERM=xterm"


def test_configuration() -> None:
    """Layers and history grow by one, what the container was told holds, and what says how it was built goes."""
    wish = Wish(author="me", message="why", changes=("CMD new",), created_by="sh -c x")
    found = configuration(BASE, {"Cmd": ["ran"], "User": "", "Env": ["A=1"]}, wish, "sha256:2", "now")
    assert found == {
        "architecture": "amd64", "os": "linux", "created": "now", "author": "me",
        "config": {"Cmd": ["/bin/sh", "-c", "new"], "Healthcheck": {"Test": ["NONE"]}, "Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:1", "sha256:2"]},
        "history": [*BASE["history"], {"created": "now", "created_by": "sh -c x", "author": "me", "comment": "why"}],
    }  # fmt: skip


def test_an_image_without_a_history() -> None:
    """Readers count the steps that made layers: they are as many as these."""
    found = configuration({**BASE, "history": None}, {}, Wish(), "sha256:2", "now")
    assert found["history"] == [{"created": "then"}, {"created": "now"}]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("CMD echo $A", {"Cmd": ["/bin/sh", "-c", "echo $A"]}),
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ('cmd=["a"]', {"Cmd": ["a"]}),
        ('ENTRYPOINT ["/e"]', {"Entrypoint": ["/e"]}),
        ("ENV A=2 C='x y'", {"Env": ["A=2", "B=1", "C=x y"]}),
        ("ENV C x  y", {"Env": ["A=1", "B=1", "C=x  y"]}),
        ("EXPOSE 80 53/udp", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        ('LABEL a=1 "b"="x y"', {"Labels": {"a": "1", "b": "x y"}}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("USER bob:users", {"User": "bob:users"}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ('VOLUME ["/a b"]', {"Volumes": {"/a b": {}}}),
        ("WORKDIR sub", {"WorkingDir": "/w/sub"}),
        ("WORKDIR /x/../y", {"WorkingDir": "/y"}),
    ],
)
def test_changes(line: str, expected: dict[str, Any]) -> None:
    """Each instruction changes what a Dockerfile's would."""
    config = {"Env": ["A=1", "B=1"], "WorkingDir": "/w"}
    assert change.apply(config, [line]) == {**config, **expected}


@given(st.text(max_size=20))
def test_any_line_is_taken_or_refused(text: str) -> None:
    """No line ends in anything but a configuration or the one Error."""
    for word in ("", *change.INSTRUCTIONS):
        try:
            change.apply({}, [f"{word} {text}"])
        except Error:
            continue


def test_steps() -> None:
    """Steps are told from the last on, layers' sizes where they belong; layers without a step come last."""
    found = steps(
        {"history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}, {"comment": "c"}]}, [9, 1, 2]
    )
    assert [(step["created_by"], step["comment"], step["size_bytes"]) for step in found] == [
        ("", "c", 2), ("b", "", 0), ("a", "", 1), ("", "", 9),
    ]  # fmt: skip
    assert printable("a\x1b[2J\n b") == "a?[2J b"


class Swap:
    """What is written while a container puts a link to the host's files in a directory's place."""

    def __init__(self, directory: Path, target: Path) -> None:
        self.directory, self.target, self.data = directory, target, b""

    def write(self, data: bytes) -> int:
        """Swap them when the directory itself is written down."""
        if self.directory.name.encode() in data and not self.directory.is_symlink():
            self.directory.rename(f"{self.directory}.old")
            self.directory.symlink_to(self.target)
        self.data += data
        return len(data)

    def tell(self) -> int:
        """Return how much was written."""
        return len(self.data)


def test_a_container_that_moves_things_meanwhile(tmp_path: Path) -> None:
    """Whatever a container does while it is looked at, nothing from outside of its changes is read or told."""
    host, upper, empty = (tmp_path / name for name in ("host", "upper", "empty"))
    (upper / "a/inner").mkdir(parents=True)
    for directory in (host, empty):
        directory.mkdir()
    (host / "secret").write_text("SECRET")
    (upper / "a/inner/file").write_text("x")
    root = os.open(upper, os.O_RDONLY)
    out = Swap(upper / "a/inner", host)
    try:
        with pytest.raises(FileNotFoundError):
            Pack(root).write(cast("IO[bytes]", out))
        assert b"secret" not in out.data.lower()
        (upper / "a/inner").unlink()
        (upper / "a/inner.old").rename(upper / "a/inner")
        lower, told = Lower([str(empty)]), []
        for letter, path in diff.changes(root, lower):
            told.append(f"{letter} {path.decode()}")
            if path == b"a/inner":
                Swap(upper / "a/inner", host).write(path)
        assert told == ["A a", "A a/inner"]
        lower.close()
    finally:
        os.close(root)

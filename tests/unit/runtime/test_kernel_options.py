"""``--ulimit``, ``--sysctl``, ``--device``, labels and what else options ask of the kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.errors import Error
from runtime import options
from runtime.config import kernel, notes, spec
from runtime.images.merge import words
from runtime.process import users

if TYPE_CHECKING:
    from pathlib import Path


def config(line: str = "") -> dict[str, Any]:
    """Return the configuration of a command line."""
    return spec.config(options.parse([*line.split(), "true"]), "web", {}, time=False)


@pytest.mark.parametrize(
    ("text", "soft", "hard"),
    [
        ("nofile=5", 5, 5),
        ("nofile=5:6", 5, 6),
        ("NOFILE=0:-1", 0, kernel.NO_LIMIT),
        ("nofile=unlimited", kernel.NO_LIMIT, kernel.NO_LIMIT),
    ],
)
def test_ulimit(text: str, soft: int, hard: int) -> None:
    """A soft and a hard limit; of two the last holds."""
    assert kernel.rlimits(["nofile=1", text]) == [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]


@pytest.mark.parametrize(
    "text",
    ["", "nofile", "files=1", "nofile=", "nofile=1:", "nofile=2:1", "nofile=-2", "core=x", "nofile=" + "9" * 5000],
)
def test_no_ulimit(text: str) -> None:
    """What is none is refused, naming it."""
    with pytest.raises(Error, match="--ulimit"):
        kernel.rlimits([text])


@pytest.mark.parametrize("text", ["kernel.pid_max=1", "vm.swappiness=1", "net.x", "=1", "net/../vm/x=1"])
def test_a_setting_of_the_host(text: str) -> None:
    """What would change the host is refused, as a bundle's would be."""
    with pytest.raises(Error, match="--sysctl"):
        kernel.sysctls([text], ("network", "ipc", "uts"))


def test_settings_are_of_namespaces() -> None:
    """With the host's network its settings are the host's."""
    assert config("--sysctl net.core.somaxconn=9")["linux"]["sysctl"] == {"net.core.somaxconn": "9"}
    with pytest.raises(Error, match="no network namespace"):
        config("--network host --sysctl net.core.somaxconn=9")
    with pytest.raises(Error, match="no ipc namespace"):
        config("--ipc host --sysctl kernel.msgmax=9")


def test_devices() -> None:
    """A node is there under its name or another, with the rights that are asked for; a directory means its nodes.

    What in it is a link is none: it may lead anywhere, and in a circle.
    """
    found = config("--device /dev/full:/dev/other:r --device /dev/zero")["linux"]
    assert [(node["path"], node["major"], node["minor"]) for node in found["devices"][-2:]] == [
        ("/dev/other", 1, 7),
        ("/dev/zero", 1, 5),
    ]
    assert [(rule["minor"], rule["access"]) for rule in found["resources"]["devices"][-2:]] == [(7, "r"), (5, "rwm")]
    nodes, rules = kernel.devices(["/dev:/dev/all:rw"])
    there = {node["path"].replace("/dev/all", "/dev") for node in nodes}
    assert "/dev/full" in there and not any(os.path.islink(path) or path.startswith("/dev/fd") for path in there)
    assert {rule["access"] for rule in rules} == {"rw"} and len(rules) == len(nodes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dev/full",
        "/dev/full:x",
        "/dev/full:/a:x",
        "/dev/full:/a:r:w",
        "/etc/passwd",
        "/dev/nosuch",
        "/dev/full::",
    ],
)
def test_no_device(text: str) -> None:
    """What is none is refused, naming it."""
    with pytest.raises(Error, match="--device"):
        kernel.devices([text])


def test_rules() -> None:
    """Rules about devices are Docker's."""
    assert kernel.device_rules(["c 10:* rm", "a *:* rwm"]) == [
        {"allow": True, "type": "c", "major": 10, "access": "rm"},
        {"allow": True, "type": "a", "access": "rwm"},
    ]
    for text in ("", "c 1:2", "x 1:2 r", "c 1 r", "c 1:2 x", "c 1:-1 r", "c 1:2:3 r", "c 4294967296:0 r"):
        with pytest.raises(Error, match="--device-cgroup-rule"):
            kernel.device_rules([text])


def test_hidden_paths() -> None:
    """Paths are hidden and shown in the order that is asked for; a star means what is below."""
    usual = ("/proc/a", "/proc/b", "/sys/c")
    assert kernel.hidden(usual, [("mask", "/d:/e"), ("unmask", "/proc/*")]) == ["/sys/c", "/d", "/e"]
    assert kernel.hidden(usual, [("unmask", "ALL"), ("mask", "/d")]) == ["/d"]
    found = config("--security-opt systempaths=unconfined --security-opt mask=/x")["linux"]
    assert (found["maskedPaths"], found["readonlyPaths"]) == (["/x"], [])


def test_shared_with_the_host() -> None:
    """What is the host's needs no namespace; /dev/shm is the host's then, and none on request."""
    found = config("--ipc host --uts host --cgroupns host")
    assert not {"ipc", "uts", "cgroup"} & {each["type"] for each in found["linux"]["namespaces"]}
    assert found["hostname"] == os.uname().nodename
    places = {mount["destination"]: mount for mount in found["mounts"]}
    assert (places["/dev/shm"]["type"], places["/dev/shm"]["source"]) == ("bind", "/dev/shm")
    assert "/dev/shm" not in {mount["destination"] for mount in config("--ipc none")["mounts"]}
    sized = {mount["destination"]: mount["options"] for mount in config("--shm-size 1m")["mounts"]}
    assert [word for word in sized["/dev/shm"] if word.startswith("size=")] == ["size=1048576"]


def test_labels(tmp_path: Path) -> None:
    """Labels are those of the image, of files and of the line, each over the one before; some names are ours."""
    file = tmp_path / "labels"
    file.write_text("# none\n\nA=file\nB=file two\n")
    line = options.parse(["--label-file", str(file), "-l", "A=line", "--label", "C", "--annotation", "D=4", "true"])
    image = {"A": "image", "E": "image", "org.systemd.property.CPUWeight": "9", "io.lxcfs-py.restart": "always"}
    assert notes.notes(line, image) == {"A": "line", "E": "image", "B": "file two", "C": "", "D": "4"}
    assert notes.labels(line) == {"A": "line", "B": "file two", "C": ""}
    for words_ in (["--label", "io.lxcfs-py.x=1"], ["--annotation", "org.systemd.property.X=1"], ["-l", "=1"]):
        with pytest.raises(Error, match=words_[0] if words_[0] != "-l" else "--label"):
            notes.notes(options.parse([*words_, "true"]), {})
    with pytest.raises(Error, match="--label-file"):
        notes.labels(options.parse(["--label-file", "/nosuch", "true"]))


def test_groups(tmp_path: Path) -> None:
    """Further groups are looked up where the user is, and added to the user's own."""
    (tmp_path / "passwd").write_text("bob:x:1000:100::/:/bin/sh\n")
    (tmp_path / "group").write_text("users:x:100:\nextra:x:200:bob\naudio:x:29:\n")
    process = config("-u bob --group-add audio --group-add 77 --umask 027")["process"]
    found = users.complete(process, str(tmp_path))["user"]
    assert (found["additionalGids"], found["umask"]) == ([100, 200, 29, 77], 0o27)
    with pytest.raises(Error, match="--group-add 'nosuch'"):
        users.complete(config("--group-add nosuch")["process"], str(tmp_path))


def test_limits() -> None:
    """What is said in the kernel's words is passed on."""
    line = "-m 64m --memory-swappiness 5 --cpu-quota 5000 --blkio-weight 50 --oom-score-adj -5 --ulimit core=0"
    found = config(line)
    limits = found["linux"]["resources"]
    assert limits["memory"]["swappiness"] == 5
    assert limits["cpu"] == {"quota": 5000, "period": 100_000}
    assert limits["blockIO"] == {"weight": 50}
    assert found["process"]["oomScoreAdj"] == -5
    assert found["process"]["rlimits"] == [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    assert config("--oom-kill-disable")["linux"]["resources"]["memory"] == {"disableOOMKiller": True}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("/a b", ("/a b",)), ('["/a", "b c"]', ("/a", "b c")), ("[", ("[",)), ("[1]", ("[1]",)), ("[]", ())],
)
def test_an_entrypoint(text: str, expected: tuple[str, ...]) -> None:
    """It is one word, or the words of a JSON array, as Podman has it."""
    assert words(text) == expected


def test_a_place_to_write(tmp_path: Path) -> None:
    """With --read-only-tmpfs a read-only container can write where programs expect to, unless something is there."""
    mounts = {m["destination"]: m["type"] for m in config("--read-only --read-only-tmpfs -v v:/tmp")["mounts"]}
    assert (mounts["/run"], mounts["/var/tmp"], mounts["/tmp"]) == ("tmpfs", "tmpfs", "bind")
    assert "/run" not in {m["destination"] for m in config("--read-only")["mounts"]}

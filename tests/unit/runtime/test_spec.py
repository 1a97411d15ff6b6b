"""The OCI configuration."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from lxcfs_py.errors import Error
from runtime import options
from runtime.config import spec, volumes
from runtime.process import capabilities, environment

if TYPE_CHECKING:
    from pathlib import Path

CALLER = {"SECRET": "s", "LANG": "C", "EMPTY": ""}


def config(line: str = "", *, time: bool = True) -> dict[str, Any]:
    """Return the configuration of a command line."""
    return spec.config(options.parse([*line.split(), "top", "-b"]), "web", CALLER, time=time)


def environment_of(line: str) -> dict[str, str]:
    """Return the command's environment."""
    return dict(item.split("=", 1) for item in config(line)["process"]["env"])


def test_environment_is_dockers() -> None:
    """PATH and HOSTNAME, with -t TERM, and nothing of the caller's."""
    assert environment_of("") == {"PATH": environment.PATH, "HOSTNAME": "web"}
    assert environment_of("-t -h box") == {"PATH": environment.PATH, "HOSTNAME": "box", "TERM": "xterm"}


def test_environment_on_request(tmp_path: Path) -> None:
    """-e sets, -e NAME copies what the caller has, -e wins over --env-file, which skips comments."""
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=file\nB=two words=x \nLANG\nABSENT\n")
    found = environment_of(f"--env-file {file} -e A=1 -e EMPTY -e ABSENT -e PATH=/bin")
    assert found == {
        "PATH": "/bin",
        "HOSTNAME": "web",
        "A": "1",
        "B": "two words=x ",
        "LANG": "C",
        "EMPTY": "",
    }


@pytest.mark.parametrize("line", ["-e =x", "-e=", "--env-file /nonexistent"])
def test_environment_refused(line: str) -> None:
    """A variable without a name, and a file that is not there, are errors."""
    with pytest.raises(Error):
        config(line)


def test_a_zero_byte(tmp_path: Path) -> None:
    """No variable can hold one: the file is named."""
    (tmp_path / "env").write_bytes(b"A=1\0B\n")
    with pytest.raises(Error, match=r"env: 'A=1.x00B': a zero byte"):
        config(f"--env-file {tmp_path}/env")


def test_process() -> None:
    """The command is what was typed; the user is looked up inside; privileges are Docker's."""
    process = config("-t -u bob -w /tmp")["process"]
    assert process["args"] == ["top", "-b"]
    assert process["terminal"] is True
    assert process["user"]["username"] == "bob"
    assert process["cwd"] == "/tmp"
    assert process["capabilities"]["bounding"] == list(capabilities.DEFAULT)
    assert process["capabilities"]["inheritable"] == process["capabilities"]["ambient"] == []
    assert process["noNewPrivileges"] is False


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--security-opt no-new-privileges", True),
        ("--security-opt=no-new-privileges:true", True),
        ("--security-opt no-new-privileges --security-opt no-new-privileges=false", False),
    ],
)
def test_no_new_privileges(line: str, expected: bool) -> None:
    """no_new_privs is set on request; of several requests the last holds."""
    assert config(line)["process"]["noNewPrivileges"] is expected


@pytest.mark.parametrize(
    ("line", "time", "expected"),
    [
        ("", True, {"mount", "pid", "uts", "ipc", "cgroup", "network", "time"}),
        ("", False, {"mount", "pid", "uts", "ipc", "cgroup", "network"}),
        ("--network host", True, {"mount", "pid", "uts", "ipc", "cgroup", "time"}),
    ],
)
def test_namespaces(line: str, time: bool, expected: set[str]) -> None:
    """Every namespace but the host's network on request, and time where the kernel has it."""
    found = [namespace["type"] for namespace in config(line, time=time)["linux"]["namespaces"]]
    assert set(found) == expected
    assert len(found) == len(expected)


def test_mounts() -> None:
    """The defaults come first, then what was asked for, outer places before inner ones."""
    found = [m["destination"] for m in config("-v /a:/x/y/z -v /b:/x --tmpfs /x/y")["mounts"]]
    assert found[:7] == ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]
    assert found[7:] == ["/x", "/x/y", "/x/y/z"]
    read_only = {m["destination"] for m in config()["mounts"] if "ro" in m["options"]}
    assert read_only == {"/sys", "/sys/fs/cgroup"}


def test_volumes() -> None:
    """A volume is bound privately and recursively, read-only on request; a tmpfs is hardened."""
    assert volumes.volume("/a:/b//c/:ro", "/s").mount == {
        "destination": "/b/c",
        "type": "bind",
        "source": "/a",
        "options": ["rbind", "rprivate", "rro"],
    }
    assert volumes.tmpfs("/t").mount["options"] == ["nosuid", "nodev", "noexec"]
    assert volumes.tmpfs("/t:exec,size=1m").mount["options"] == ["nosuid", "nodev", "exec", "size=1m"]
    assert volumes.tmpfs("//t/../u").mount["destination"] == "/u"


def test_the_rest() -> None:
    """Host name, cgroup, hidden paths and the root's mode are where OCI has them, as plain JSON."""
    found = config("-h box --read-only")
    assert json.loads(json.dumps(found)) == found
    assert found["hostname"] == "box"
    assert found["root"]["readonly"] is True
    assert found["linux"]["cgroupsPath"] == "/pyproc/web"
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(found["linux"]["maskedPaths"])
    assert set(found["linux"]["readonlyPaths"]) == {
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
    }  # fmt: skip


def test_build(tmp_path: Path) -> None:
    """A request carries what OCI has no words for; paths are absolute; an id is made where none is given."""
    line = ["--dry-run", "--rm", "--init", "--proc-view", "off", "--root", str(tmp_path), "true"]
    request = spec.build(options.parse(line), caller=CALLER)
    assert len(request.id) == 12
    assert set(request.id) <= set("0123456789abcdef")
    assert request.spec["hostname"] == request.id
    assert (request.remove, request.init, request.proc_view) == (True, True, "off")
    assert request.root == str(tmp_path)
    assert (request.storage, request.rootfs) == ("/var/lib/pyproc", "")
    assert spec.build(options.parse(line), caller=CALLER).id != request.id


def test_build_refuses_a_taken_name(tmp_path: Path) -> None:
    """A name is taken as long as its directory exists, in whatever condition."""
    (tmp_path / "web").mkdir()
    with pytest.raises(Error, match="the name 'web' is taken"):
        spec.build(options.parse(["--dry-run", "--root", str(tmp_path), "--name", "web", "true"]))


def test_an_id_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made up becomes a host name: digits alone would be read as an address."""
    drawn = [b"\x12\x34\x56\x78\x90\x12", b"\x12\x34\x56\x78\x90\xab"]
    monkeypatch.setattr(os, "urandom", lambda _count: drawn.pop(0))
    assert spec.new_id() == "1234567890ab"

"""What a container's filter is made of: the default profile or a file, and what the agent answers."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.seccomp import protocol
from runtime import options
from runtime.config import spec
from runtime.filters import cache, default, docker
from runtime.filters.compiler import compile as compiled
from runtime.filters.numbers import NUMBERS
from runtime.process import capabilities, seccomp
from tests.unit.runtime.bpf import I386, X32_BIT, X86_64, interpret

ALLOW, NOTIFY, EPERM, ENOSYS = 0x7FFF0000, 0x7FC00000, 0x50001, 0x50026
SOCKET = protocol.socket_path(Host(run="/run"))
OPEN = seccomp.answered(None, SOCKET)
"""Forbids nothing."""
ARCHITECTURES = seccomp.ARCHITECTURES["x86_64"]
STRICT = default.profile(capabilities.DEFAULT, ARCHITECTURES)


@pytest.mark.parametrize(
    ("number", "architecture", "expected"),
    [
        (99, X86_64, NOTIFY),
        (204, X86_64, NOTIFY),
        (116, I386, NOTIFY),
        (242, I386, NOTIFY),
        (116, X86_64, ALLOW),
        (99, I386, ALLOW),
        (203, X86_64, ALLOW),
        (203 | X32_BIT, X86_64, ALLOW),
    ],
)
@pytest.mark.parametrize("base", [None, STRICT])
def test_only_two_calls_are_handed_over(
    base: dict[str, Any] | None, number: int, architecture: int, expected: int
) -> None:
    """sysinfo and sched_getaffinity go to the agent, whatever a profile says; sched_setaffinity and others do not."""
    found = compiled(seccomp.answered(base, SOCKET))
    assert found.notify
    assert found.flags == seccomp.SPEC_ALLOW | seccomp.WAIT_KILLABLE_RECV
    assert interpret(found.program, number, architecture) == expected


@given(st.integers(0, 2**32 - 1), st.sampled_from([X86_64, I386]))
def test_nothing_is_forbidden(number: int, architecture: int) -> None:
    """Without a profile, whatever is called is allowed or handed over."""
    assert interpret(compiled(OPEN).program, number, architecture) in (ALLOW, NOTIFY)


def test_it_is_ocis() -> None:
    """The configuration names the agent's socket and is plain JSON; without the agent it is as before."""
    found = seccomp.answered(STRICT, SOCKET)
    assert json.loads(json.dumps(found)) == found
    assert found["listenerPath"] == "/run/lxcfs-py/seccomp.sock"
    assert found["syscalls"][0] == {"names": ["sysinfo", "sched_getaffinity"], "action": "SCMP_ACT_NOTIFY"}
    plain = seccomp.unanswered(found)
    assert plain is not None
    assert compiled(plain) == compiled(STRICT)
    assert seccomp.unanswered(OPEN) is None
    assert seccomp.unanswered(STRICT) is STRICT


def test_a_profile_with_an_agent_of_its_own() -> None:
    """There can be one listener: theirs."""
    own = {**STRICT, "listenerPath": "/a", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    assert seccomp.answered(own, SOCKET) == own
    without = {key: value for key, value in own.items() if key != "listenerPath"}
    with pytest.raises(Error, match="without listenerPath"):
        seccomp.of({"linux": {"seccomp": without}}, "web", "/b")


@pytest.mark.parametrize(
    ("line", "call", "expected"),
    [
        ("", "mount", EPERM),
        ("", "keyctl", EPERM),
        ("", "bpf", EPERM),
        ("", "chroot", ALLOW),
        ("--cap-drop sys_chroot", "chroot", EPERM),
        ("--cap-add sys_admin", "mount", ALLOW),
        ("--cap-add sys_admin", "bpf", ALLOW),
        ("--cap-add sys_admin", "clone3", ALLOW),
        ("--cap-add sys_admin", "keyctl", EPERM),
        ("--cap-add bpf", "bpf", ALLOW),
        ("--cap-add bpf", "mount", EPERM),
        ("--cap-add all", "kexec_load", EPERM),
        ("", "clone3", ENOSYS),
        ("", "file_setattr", ALLOW),
        ("--security-opt seccomp=builtin", "mount", EPERM),
        ("--privileged --security-opt seccomp=builtin", "reboot", ALLOW),
    ],
)
def test_the_default_profile(line: str, call: str, expected: int) -> None:
    """What a capability is for is refused without it and left to the kernel with it; some things nothing gives."""
    found = spec.wanted(options.parse([*line.split(), "true"]))
    assert found is not None
    assert interpret(compiled(found).program, NUMBERS[call][0], X86_64) == expected
    assert interpret(compiled(found).program, NUMBERS[call][2], X86_64) == expected


@pytest.mark.parametrize("line", ["--privileged", "--security-opt seccomp=unconfined"])
def test_no_profile(line: str) -> None:
    """A privileged container and one that asks for it has none."""
    assert spec.wanted(options.parse([*line.split(), "true"])) is None


@pytest.mark.parametrize(
    ("number", "architecture", "arguments", "expected"),
    [
        (56, X86_64, (0x11,), ALLOW),
        (56, X86_64, (0x10000000 | 17,), EPERM),
        (56, X86_64, (0x20000 | 1 << 40,), EPERM),
        (120, I386, (0x40000000,), EPERM),
        (135, X86_64, (0xFFFFFFFF,), ALLOW),
        (135, X86_64, (0x0400000,), EPERM),
        (41, X86_64, (1,), ALLOW),
        (41, X86_64, (40,), EPERM),
        (102, I386, (1,), EPERM),
        (102, I386, (3,), ALLOW),
        (1000, X86_64, (), ENOSYS),
        (1000, I386, (), ENOSYS),
    ],
)
def test_exceptions(number: int, architecture: int, arguments: tuple[int, ...], expected: int) -> None:
    """Allowed are clone without namespaces, usual personalities, sockets but the hypervisor's; new is ENOSYS."""
    assert interpret(compiled(STRICT).program, number, architecture, arguments) == expected


def test_every_family_has_a_reason_and_knows_its_calls() -> None:
    """Names are in the table and refused once; capabilities exist."""
    names = [name for family in default.REFUSED for name in family.names]
    assert len(names) == len(set(names))
    assert set(names) <= set(NUMBERS)
    assert {name for family in default.REFUSED for name in family.unless} <= set(capabilities.NAMES)
    assert all(family.reason for family in default.REFUSED)


def test_the_document_has_the_table() -> None:
    """docs/security.md says which calls are refused, why, and what gives them back, word by word."""
    text = (Path(__file__).parents[3] / "docs/security.md").read_text()
    rows = [line for line in text.split("## Devices")[0].splitlines() if line.startswith("| `")]
    assert rows == [
        f"| {', '.join(f'`{name}`' for name in family.names)} | {family.reason} "
        f"| {', '.join(name.removeprefix('CAP_') for name in family.unless) or 'nothing'} |"
        for family in default.REFUSED
    ]


def test_new_calls_are_looked_at() -> None:
    """What the table has beyond this was never judged: judge it in runtime.filters.default, then raise the number."""
    assert max(numbers[0] for numbers in NUMBERS.values()) == 469


def test_a_profile_of_dockers() -> None:
    """Entries hold by capabilities, architecture and kernel; archMap becomes architectures."""
    theirs = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_S390X"},
        ],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}, "args": None},
            {"name": "write", "action": "SCMP_ACT_ALLOW"},
            {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X"]}},
            {"names": ["b"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_Y"], "arches": ["amd64", "x32"]}},
            {"names": ["c"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_Y"]}},
            {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.10"}},
            {"names": ["f"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["arm64"], "minKernel": "6.2"}},
            {"names": ["g"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        ],
    }  # fmt: skip
    found = docker.convert(theirs, ("CAP_Y",), "x86_64", "6.9.0-1-amd64")
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert [row["names"] for row in found["syscalls"]] == [["read"], ["write"], ["b"], ["d"], ["f"]][:4]
    assert found["syscalls"][0] == {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
    assert docker.convert(STRICT, (), "x86_64", "6.9.0") == STRICT


@pytest.mark.parametrize("text", ["", "[]", '{"syscalls": [{}]}', '{"syscalls": 7}', "{"])
def test_a_file_that_is_no_profile(tmp_path: Path, text: str) -> None:
    """It is named in one line, with what to do."""
    (tmp_path / "profile.json").write_text(text)
    for path in (tmp_path / "profile.json", tmp_path / "none"):
        with pytest.raises(Error) as caught:
            spec.wanted(options.parse(["--security-opt", f"seccomp={path}", "true"]))
        assert str(caught.value).startswith(f"--security-opt seccomp={path}: ")
        assert str(caught.value).endswith("; name a profile in JSON, or unconfined")


def test_a_file(tmp_path: Path) -> None:
    """A profile of one's own is what is loaded."""
    (tmp_path / "profile.json").write_text(json.dumps(STRICT))
    assert spec.wanted(options.parse(["--security-opt", f"seccomp={tmp_path}/profile.json", "true"])) == STRICT


def test_what_was_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time nothing is compiled; what is damaged is compiled again; there are never many."""
    directory = str(tmp_path / "filters")
    first = cache.compiled(STRICT, directory)
    (file,) = (tmp_path / "filters").iterdir()
    assert os.stat(directory).st_mode & 0o777 == 0o700
    with monkeypatch.context() as patched:
        patched.setattr("runtime.filters.compiler.compile", lambda *_: pytest.fail("compiled"))
        assert cache.compiled(STRICT, directory) == first
    for damaged in (b"", file.read_bytes()[:-8], file.read_bytes()[:40] + b"\0" + file.read_bytes()[41:]):
        file.write_bytes(damaged)
        assert cache.compiled(STRICT, directory) == first
    for number in range(cache.KEPT + 1):
        cache.compiled({**STRICT, "defaultErrnoRet": number}, directory)
    assert len(list((tmp_path / "filters").iterdir())) <= cache.KEPT


def test_nowhere_to_keep_it() -> None:
    """Then it is compiled each time."""
    assert cache.compiled(STRICT, "/proc/none") == cache.compiled(STRICT, "")


def test_another_program_has_another_version() -> None:
    """What people's disks keep is by cache.VERSION: raise it when the same configuration compiles differently."""
    from hashlib import blake2b

    names = ("read", "connect", "clone3", "mmap2")
    rows: list[dict[str, Any]] = [{"names": [name], "action": "SCMP_ACT_ALLOW"} for name in names]
    args = [{"index": at, "op": f"SCMP_CMP_{op}", "value": 7 << 30, "valueTwo": 1} for at, op in enumerate(OPERATORS)]
    rows += [{"names": ["write"], "action": "SCMP_ACT_LOG", "args": [each]} for each in args]
    asked = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": list(ARCHITECTURES), "syscalls": rows}
    digest = blake2b(compiled(asked).program, digest_size=8).hexdigest()
    assert (cache.VERSION, digest) == (1, "0a57aa67aa428765")


OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "MASKED_EQ")


def test_the_configuration_holds_it_if_asked() -> None:
    """linux.seccomp is what was decided, and absent without it."""
    parsed = options.parse(["true"])
    assert "seccomp" not in spec.config(parsed, "web", {}, time=True)["linux"]
    assert spec.config(parsed, "web", {}, time=True, filtered=OPEN)["linux"]["seccomp"] == OPEN


def test_the_filter_is_described() -> None:
    """The plan says in one line what is forbidden and what is answered by whom; without linux.seccomp nothing."""
    found = seccomp.of({"linux": {"seccomp": OPEN}}, "web", "/run/pyproc/web")
    assert found is not None
    assert found.describe() == (
        "filter SCMP_ACT_ALLOW, 1 rules, sysinfo,sched_getaffinity answered by /run/lxcfs-py/seccomp.sock"
    )
    assert found.plain is None
    assert seccomp.of({"linux": {}}, "web", "/run/pyproc/web") is None


def test_the_state_is_read_as_sent() -> None:
    """The keeper finds the container and the listener in what the runtime sends."""
    container = {"ociVersion": "1.1.0", "id": "web", "status": "creating", "pid": 7, "bundle": "/b"}
    sent = protocol.state({**OPEN, "listenerMetadata": "m"}, container, 7, ["other", "seccompFd"])
    assert json.loads(sent)["metadata"] == "m"
    assert protocol.parse_state(sent) == protocol.Sent("web", 1)


@pytest.mark.parametrize("stays", [True, False])
def test_an_agent_that_is_killed_has_a_successor(tmp_path: Path, stays: bool) -> None:
    """Who takes connections may be killed before the listener was sent: the next one gets it, whole, and if there is
    none an error names the socket.
    """
    path = f"{tmp_path}/agent.sock"
    kept = compiled({"defaultAction": "SCMP_ACT_ALLOW"})
    one = seccomp.Filter({"listenerPath": path}, "c", "/b", kept, kept)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        agent = one.connect()
        assert agent is not None
        listening.accept()[0].close()
        reader, writer = os.pipe()
        if stays:
            one.hand_over(agent, os.dup(writer), 7)
            successor = listening.accept()[0]
            text, descriptors, _, _ = socket.recv_fds(successor, 4096, 1)
            successor.close()
            assert json.loads(text)["pid"] == 7
            assert os.path.sameopenfile(descriptors[0], writer)
            os.close(descriptors[0])
        else:
            listening.close()
            with pytest.raises(OSError, match=r"agent\.sock") as caught:
                one.hand_over(agent, os.dup(writer), 7)
            assert not isinstance(caught.value, BrokenPipeError)
    os.close(reader)
    os.close(writer)

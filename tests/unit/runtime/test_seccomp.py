"""The filter, under an interpreter of the few instructions of classic BPF it uses."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from lxcfs_py.host import Host
from lxcfs_py.seccomp import protocol
from runtime import options, seccomp, spec

ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
X86_64, I386, X32_BIT = 0xC000003E, 0x40000003, 0x40000000
PROFILE = seccomp.profile(Host(run="/run"))


def interpret(program: bytes, number: int, architecture: int) -> int:
    """Run a filter on struct seccomp_data as the kernel would (Documentation/networking/filter.rst)."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(0,) * 6)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator, at = 0, 0
    while True:
        opcode, if_true, if_false, constant = code[at]
        at += 1
        if opcode == 0x20:
            accumulator = struct.unpack_from("=I", data, constant)[0]
        elif opcode == 0x15:
            at += if_true if accumulator == constant else if_false
        elif opcode == 0x06:
            return int(constant)
        else:
            raise AssertionError(f"opcode {opcode:#x}")


@pytest.mark.parametrize(
    ("number", "architecture", "expected"),
    [
        (99, X86_64, NOTIFY),
        (204, X86_64, NOTIFY),
        (116, I386, NOTIFY),
        (242, I386, NOTIFY),
        (116, X86_64, ALLOW),
        (99, I386, ALLOW),
        (99 | X32_BIT, X86_64, ALLOW),
        (203, X86_64, ALLOW),
        (99, 0xC00000B7, ALLOW),
    ],
)
def test_only_two_calls_are_handed_over(number: int, architecture: int, expected: int) -> None:
    """sysinfo and sched_getaffinity, 64 and 32 bits, go to the agent; sched_setaffinity, x32 and others do not."""
    assert interpret(seccomp.program(PROFILE), number, architecture) == expected


@given(st.integers(0, 2**32 - 1), st.sampled_from([X86_64, I386, 0, 0xC00000B7]))
def test_nothing_is_forbidden(number: int, architecture: int) -> None:
    """Whatever is called, the filter allows it or hands it over, and it ends."""
    assert interpret(seccomp.program(PROFILE), number, architecture) in (ALLOW, NOTIFY)


def test_the_profile_is_ocis() -> None:
    """The configuration names the agent's socket and is plain JSON."""
    assert json.loads(json.dumps(PROFILE)) == PROFILE
    assert PROFILE["listenerPath"] == "/run/lxcfs-py/seccomp.sock"
    assert PROFILE["defaultAction"] == "SCMP_ACT_ALLOW"
    assert PROFILE["syscalls"] == [{"names": ["sysinfo", "sched_getaffinity"], "action": "SCMP_ACT_NOTIFY"}]


@pytest.mark.parametrize(
    "change", [{"defaultAction": "SCMP_ACT_ERRNO"}, {"syscalls": [{"names": ["a"], "action": "X"}]}]
)
def test_other_profiles_are_refused(change: dict[str, Any]) -> None:
    """An action that can't be carried out is an error, never left out."""
    with pytest.raises(Error, match="SCMP_ACT_ALLOW"):
        seccomp.program({**PROFILE, **change})


def test_the_configuration_holds_it_if_asked() -> None:
    """linux.seccomp is what was decided, and absent without it."""
    parsed = options.parse(["true"])
    assert "seccomp" not in spec.config(parsed, "web", {}, time=True)["linux"]
    assert spec.config(parsed, "web", {}, time=True, filtered=PROFILE)["linux"]["seccomp"] == PROFILE


def test_the_step() -> None:
    """The plan's step says in one line what is answered by whom; without linux.seccomp there is none."""
    (step,) = seccomp.steps({"linux": {"seccomp": PROFILE}}, "web", "/run/pyproc/web")
    assert step.describe() == "filter sysinfo,sched_getaffinity answered by /run/lxcfs-py/seccomp.sock"
    assert seccomp.steps({"linux": {}}, "web", "/run/pyproc/web") == []


def test_the_state_is_read_as_sent() -> None:
    """The keeper finds the container and the listener in what the runtime sends."""
    container = {"ociVersion": "1.1.0", "id": "web", "status": "creating", "pid": 7, "bundle": "/b"}
    sent = protocol.state({**PROFILE, "listenerMetadata": "m"}, container, 7, ["other", "seccompFd"])
    assert json.loads(sent)["metadata"] == "m"
    assert protocol.parse_state(sent) == protocol.Sent("web", 1)

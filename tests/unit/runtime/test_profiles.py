"""Profiles become filters, rule by rule; and what is wrong with one is named."""

from __future__ import annotations

from typing import Any

import pytest

from lxcfs_py.errors import Error
from runtime.filters.compiler import compile as compiled
from tests.unit.runtime.bpf import AARCH64, ALLOW, ENOSYS, ERRNO, I386, KILL, X32_BIT, X86_64, interpret


def profile(*rows: dict[str, Any], default: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    """Return a configuration."""
    return {"defaultAction": default, "syscalls": list(rows), **more}


def row(*names: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    """Return an entry."""
    return {"names": list(names), "action": action, **more}


def argument(index: int, op: str, value: int, **more: int) -> dict[str, Any]:
    """Return a condition."""
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, **more}


@pytest.mark.parametrize(
    ("action", "number", "expected"),
    [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x80000000),
        ("SCMP_ACT_TRAP", None, 0x30000),
        ("SCMP_ACT_ERRNO", None, 0x50001),
        ("SCMP_ACT_ERRNO", 38, 0x50026),
        ("SCMP_ACT_TRACE", None, 0x7FF00001),
        ("SCMP_ACT_TRACE", 0xFFFF, 0x7FF0FFFF),
        ("SCMP_ACT_LOG", None, 0x7FFC0000),
        ("SCMP_ACT_NOTIFY", None, 0x7FC00000),
    ],
)
def test_actions(action: str, number: int | None, expected: int) -> None:
    """Every action is the kernel's, with its number where it takes one, EPERM where none is given."""
    more = {} if number is None else {"errnoRet": number}
    found = compiled(profile(row("mkdir", action=action, **more)))
    assert interpret(found.program, 83, X86_64) == expected
    assert interpret(found.program, 84, X86_64) == ALLOW
    assert found.notify == (action == "SCMP_ACT_NOTIFY")


def test_the_first_entry_without_conditions_decides() -> None:
    """Before and after it there may be others for the same call."""
    first, second = row("mkdir", errnoRet=5), row("mkdir", action="SCMP_ACT_KILL")
    conditional = row("mkdir", errnoRet=6, args=[argument(0, "GE", 0)])
    assert interpret(compiled(profile(conditional, first, second)).program, 83, X86_64) == ERRNO | 5
    same = row("mkdir", action="SCMP_ACT_ALLOW")
    assert interpret(compiled(profile(same, first)).program, 83, X86_64) == ERRNO | 5


def test_what_is_newer_fails_softly() -> None:
    """Beyond the newest call a strict profile names there is ENOSYS, unless the profile is permissive."""
    strict = profile(row("read", "openat2", action="SCMP_ACT_ALLOW"), default="SCMP_ACT_KILL_PROCESS")
    found = compiled(strict).program
    assert interpret(found, 437, X86_64) == ALLOW
    assert interpret(found, 438, X86_64) == ENOSYS
    assert interpret(found, 436, X86_64) == 0x80000000
    assert interpret(found, 0xFFFFFFFF, X86_64) == 0x80000000, "what a tracer skips has number -1"
    assert interpret(compiled(profile(row("read"))).program, 438, X86_64) == ALLOW


def test_architectures() -> None:
    """The machine's own is always there; others are killed unless listed; foreign names are taken."""
    alone = compiled(profile(architectures=["SCMP_ARCH_S390X"])).program
    assert interpret(alone, 1, X86_64) == ALLOW
    assert interpret(alone, 1, I386) == interpret(alone, 1 | X32_BIT, X86_64) == interpret(alone, 1, AARCH64) == KILL
    both = compiled(profile(architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32"])).program
    assert interpret(both, 1, I386) == interpret(both, 1 | X32_BIT, X86_64) == ALLOW
    assert interpret(compiled(profile(), "aarch64").program, 1, AARCH64) == ALLOW
    assert interpret(compiled(profile(), "aarch64").program, 1, X86_64) == KILL


@pytest.mark.parametrize(
    ("call", "number", "direct"), [("connect", 3, 362), ("accept", 5, None), ("shmget", 23, 395)]
)
def test_calls_of_calls(call: str, number: int, direct: int | None) -> None:
    """On x86 an entry covers its call both ways; with conditions the direct one only."""
    multiplexer = 117 if call == "shmget" else 102
    architectures = ["SCMP_ARCH_X86"]
    found = compiled(profile(row(call), architectures=architectures)).program
    assert interpret(found, multiplexer, I386, (number,)) == ERRNO | 1
    assert interpret(found, multiplexer, I386, (number + 1,)) == ALLOW
    conditional = row(call, args=[argument(1, "EQ", 7)])
    assert interpret(compiled(profile(conditional, architectures=architectures)).program, 102, I386, (3, 7)) == ALLOW
    if direct:
        assert interpret(found, direct, I386) == ERRNO | 1


def test_flags() -> None:
    """Flags are the kernel's, but for what a listener is needed for and what one thread has no use of."""
    names = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"]
    flags = [f"SECCOMP_FILTER_FLAG_{name}" for name in names]
    assert compiled(profile(flags=flags)).flags == 6
    assert compiled(profile(row("mkdir", action="SCMP_ACT_NOTIFY"), flags=flags)).flags == 38


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (profile(default="SCMP_ACT_NO"), "linux.seccomp.defaultAction: unknown 'SCMP_ACT_NO'"),
        (profile(default="SCMP_ACT_NOTIFY"), "defaultAction: SCMP_ACT_NOTIFY would hold up the runtime"),
        (profile(defaultErrnoRet=1), "defaultErrnoRet: SCMP_ACT_ALLOW returns no number"),
        (
            profile(default="SCMP_ACT_ERRNO", defaultErrnoRet=1 << 16),
            "defaultErrnoRet: 65536 is no number of 16 bits",
        ),
        (profile(row("mkdir", action="")), "syscalls[0].action: unknown ''"),
        (profile(row("read"), row()), "syscalls[1].names: empty"),
        (profile(row("mkdir", action="SCMP_ACT_KILL", errnoRet=1)), "syscalls[0].errnoRet: SCMP_ACT_KILL returns no"),
        (
            profile(row("mkdir", args=[argument(6, "EQ", 1)])),
            "syscalls[0].args[0].index: 6: a call has six arguments",
        ),
        (profile(row("mkdir", args=[argument(0, "EQ", -1)])), "args[0].value: -1 is no number of 64 bits"),
        (profile(row("mkdir", args=[argument(0, "IS", 1)])), "args[0].op: unknown 'SCMP_CMP_IS'"),
        (profile(row("sendmsg", action="SCMP_ACT_NOTIFY")), "syscalls[0].names: sendmsg can't be SCMP_ACT_NOTIFY"),
        (profile(flags=["X"]), "flags: unknown 'X'"),
        (profile(architectures=["SCMP_ARCH_PDP11"]), "architectures: unknown 'SCMP_ARCH_PDP11'"),
        (
            profile(*(row("mkdir", args=[argument(0, "EQ", value)]) for value in range(1000))),
            "5015 instructions, and the kernel takes 4096",
        ),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], said: str) -> None:
    """An error names the field, by its number where there are several, and the value, in one line with a remedy."""
    with pytest.raises(Error) as caught:
        compiled(wrong)
    assert said in str(caught.value)
    assert "; " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_machine() -> None:
    """A machine without a table is named."""
    with pytest.raises(Error, match="no system calls' numbers for riscv64"):
        compiled(profile(), "riscv64")

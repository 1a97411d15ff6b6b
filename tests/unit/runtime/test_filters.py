"""Filters, beside libseccomp's for the same configuration, both under an interpreter."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lxcfs_py.errors import Error
from runtime.filters.architectures import ARCHITECTURES, MULTIPLEXED
from runtime.filters.compiler import ACTIONS, WITH_NUMBER
from runtime.filters.compiler import compile as compiled
from runtime.filters.names import NAMES
from runtime.filters.numbers import NUMBERS
from tests.unit.runtime import libseccomp
from tests.unit.runtime.bpf import AARCH64, ARM, I386, X32_BIT, X86_64, interpret

ALLOW, ERRNO, KILL = 0x7FFF0000, 0x50000, 0
ENOSYS = ERRNO | 38
MULTIPLEXERS = (*MULTIPLEXED, *(name for names in MULTIPLEXED.values() for name in names if name))
PLAIN = sorted(name for name in set(NUMBERS) - set(MULTIPLEXERS) if 0 <= min(NUMBERS[name]) <= 450)
"""Calls that are one call everywhere, and that libseccomp knows.

With one that an architecture lacks, libseccomp 2.5.4 may forget to load the number there, and decides at random.
"""
VALUES = st.sampled_from([0, 1, 2, 0x7E020000, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1])
OPERATORS = [f"SCMP_CMP_{name}" for name in libseccomp.OPERATORS if name]


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """Return one of ``args``."""
    row: dict[str, Any] = {
        "index": draw(st.integers(0, 5)),
        "value": draw(VALUES),
        "op": draw(st.sampled_from(OPERATORS)),
    }
    if row["op"] == "SCMP_CMP_MASKED_EQ":
        row["valueTwo"] = draw(VALUES) & row["value"]
    return row


@st.composite
def simple(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Return alternatives as far as libseccomp 2.5.4 has them right: of what overlaps it may forget a part."""
    if draw(st.booleans()):
        return [draw(st.lists(conditions(), max_size=3, unique_by=lambda row: row["index"]))]
    index, values = draw(st.integers(0, 5)), draw(st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True))
    return [[{"index": index, "value": value, "op": "SCMP_CMP_EQ"}] for value in values]


@st.composite
def profiles(draw: st.DrawFn, alternatives: st.SearchStrategy[list[list[dict[str, Any]]]]) -> dict[str, Any]:
    """Return a configuration in which every call has one action beside the default."""
    default, *others = draw(st.permutations(sorted(set(ACTIONS) - {"SCMP_ACT_NOTIFY", "SCMP_ACT_KILL_THREAD"})))[:4]
    rows: list[dict[str, Any]] = []
    for name in draw(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=30, unique=True)):
        action = draw(st.sampled_from(others))
        number = {"errnoRet": 7} if action in WITH_NUMBER and draw(st.booleans()) else {}
        rows += [
            {"names": [name, "no_such_call"], "action": action, "args": args, **number} for args in draw(alternatives)
        ]
    return {
        "defaultAction": default,
        "architectures": draw(st.lists(st.sampled_from(sorted(ARCHITECTURES)), unique=True)),
        "syscalls": rows,
    }


def calls(profile: dict[str, Any], seed: int) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return calls to ask about: those that are named, their neighbours, and any; with arguments that matter."""
    chosen = random.Random(seed)
    values = [0, 1, 2**32, 2**64 - 1, *(row["value"] for each in profile["syscalls"] for row in each.get("args", ()))]
    values += [row["valueTwo"] for each in profile["syscalls"] for row in each.get("args", ()) if "valueTwo" in row]
    near = [value + step & 2**64 - 1 for value in values for step in (-1, 0, 1)]
    found = []
    for row in profile["syscalls"]:
        for name in row["names"]:
            for number in {*NUMBERS.get(name, ()), chosen.randrange(600)} - {-1}:
                for audit in (X86_64, I386, AARCH64, ARM):
                    found += [(number, audit, tuple(chosen.choices(near, k=6))) for _ in range(3)]
    return found


def newest(profile: dict[str, Any], audit: int, number: int) -> int:
    """Return the highest number a profile names, by the architecture of one call."""
    x32 = audit == X86_64 and number >= X32_BIT
    column = {X86_64: 2 if x32 else 0, I386: 1, AARCH64: 3, ARM: 4}[audit]
    named = [NUMBERS[name][column] for row in profile["syscalls"] for name in row["names"] if name in NUMBERS]
    return max((number for number in named if number < 0xF0000 or x32), default=-1)


def which(audit: int, number: int) -> str:
    """Return by which architecture a call comes."""
    x32 = audit == X86_64 and number >= X32_BIT
    return next(n for n, each in ARCHITECTURES.items() if each.audit == audit and (n == "SCMP_ARCH_X32") == x32)


def is_newer(profile: dict[str, Any], audit: int, number: int) -> bool:
    """Say whether a call is newer than all that a strict profile names."""
    name = which(audit, number)
    known = newest(profile, audit, number)
    return (
        profile["defaultAction"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
        and name in ("SCMP_ARCH_X86_64", *profile["architectures"])
        and -1 < known < number < ARCHITECTURES[name].end
    )


@settings(max_examples=200, deadline=None)
@given(profiles(simple()), st.integers())
def test_filters_say_what_libseccomps_do(profile: dict[str, Any], seed: int) -> None:
    """Every call gets libseccomp's answer, but that one newer than all a strict profile names gets ENOSYS."""
    ours, theirs = compiled(profile).program, libseccomp.export(profile)
    for number, audit, arguments in calls(profile, seed):
        expected = interpret(theirs, number, audit, arguments)
        if is_newer(profile, audit, number):
            expected = ENOSYS
        assert interpret(ours, number, audit, arguments) == expected, (hex(number), hex(audit), arguments)


def holds(row: dict[str, Any], argument: int) -> bool:
    """Say whether a condition holds, as config-linux.md words it."""
    value = row["value"]
    return bool(
        {
            "NE": argument != value, "LT": argument < value, "LE": argument <= value, "EQ": argument == value,
            "GE": argument >= value, "GT": argument > value,
            "MASKED_EQ": argument & value == row.get("valueTwo"),
        }[row["op"].removeprefix("SCMP_CMP_")]
    )  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(profiles(st.lists(st.lists(conditions(), max_size=3), min_size=1, max_size=3)), st.integers())
def test_alternatives(profile: dict[str, Any], seed: int) -> None:
    """Entries for one call are alternatives; conditions of one all count, unless an argument is there twice."""
    program = compiled({**profile, "architectures": []}).program
    for number, audit, arguments in calls(profile, seed):
        if audit != X86_64 or number >= X32_BIT or is_newer(profile, audit, number):
            continue
        expected = libseccomp.action(profile["defaultAction"], None)
        for row in profile["syscalls"]:
            if NUMBERS[row["names"][0]][0] == number:
                all_hold = [holds(each, arguments[each["index"]]) for each in row["args"]]
                several = len({each["index"] for each in row["args"]}) < len(row["args"])
                if any(all_hold) if several else all(all_hold):
                    expected = libseccomp.action(row["action"], row.get("errnoRet"))
        assert interpret(program, number, audit, arguments) == expected, (hex(number), arguments)


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


def test_names_are_those_that_have_numbers() -> None:
    """Both lists are of the same calls, in the same order."""
    assert tuple(NUMBERS) == NAMES


def test_the_numbers_are_libseccomps() -> None:
    """Every number that libseccomp knows is ours, on all architectures; deploy/syscalls.py makes the table."""
    for name, numbers in NUMBERS.items():
        for (token, architecture), number in zip(libseccomp.TOKENS.items(), numbers, strict=True):
            theirs = libseccomp.LIBRARY.seccomp_syscall_resolve_name_arch(architecture, name.encode())
            if theirs < -1:  # a pseudonym: there is another way to call it, or none
                assert name in MULTIPLEXERS or number == -1, (name, token)
            elif theirs == -1:
                assert number == -1 or number & ~X32_BIT > 450, (name, token)
            else:
                assert theirs == number, (name, token)

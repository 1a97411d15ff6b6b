"""Filters, beside libseccomp's for the same configuration, both under an interpreter."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.filters.architectures import ARCHITECTURES, MULTIPLEXED
from runtime.filters.compiler import ACTIONS, WITH_NUMBER
from runtime.filters.compiler import compile as compiled
from runtime.filters.names import NAMES
from runtime.filters.numbers import NUMBERS
from tests.unit.runtime import libseccomp
from tests.unit.runtime.bpf import AARCH64, ARM, ENOSYS, I386, X32_BIT, X86_64, interpret

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

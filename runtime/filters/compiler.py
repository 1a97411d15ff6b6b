"""Compiles ``linux.seccomp`` (config-linux.md, "Seccomp") to the classic BPF that seccomp(2) takes; pure.

It means what libseccomp makes of the same configuration for runc and crun:

- The conditions of one entry must all hold; entries are alternatives. Conditions on one argument twice are too.
- An entry without conditions decides its call alone, the first such one; of others the first that holds does.
- An entry that does what is done by default anyway says nothing.
- A name that is unknown here, or that an architecture lacks, is left out.
- Calls of an architecture that isn't listed kill the thread. The machine's own is always listed. x32 is one.
- On 32-bit architectures, x32 among them, the lower halves of arguments are compared.
- x86's socketcall(2) and ipc(2) are covered by entries for the calls they stand for, as far as those have no
  conditions: the arguments are behind a pointer, which a filter can't follow.

And what runc adds: a call that is newer than the newest one a profile names fails with ENOSYS, unless calls are
allowed by default, so that programs fall back on an older one.

A program looks at the architecture, then finds the call's number by bisection: nine comparisons at most.
"""

from __future__ import annotations

from lxcfs_py.record import Record
from runtime.errors import RunError
from runtime.filters.architectures import (
    ARCHITECTURES,
    BEHIND,
    ELSEWHERE,
    NATIVE,
    X32,
    X32_BIT,
    X86,
    X86_64,
    Architecture,
)
from runtime.filters.bpf import OPERATORS, program
from runtime.filters.cache import Compiled
from runtime.filters.numbers import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from runtime.filters.bpf import Condition, Decision, Placed

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS."""
EPERM, ENOSYS = 1, 38
ACTIONS = {
    "SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_THREAD": 0, "SCMP_ACT_KILL_PROCESS": 0x80000000, "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000, "SCMP_ACT_NOTIFY": 0x7FC00000, "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
"""SECCOMP_RET_* (include/uapi/linux/seccomp.h)."""
WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
"""What takes ``errnoRet``."""
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
"""Defaults that newer calls fall under as well; a tracer can see to them itself."""
NOTIFY = "SCMP_ACT_NOTIFY"
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,  # who loads it has one thread
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
WAIT_KILLABLE_RECV = FLAGS["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
"""The kernel takes it with a listener only."""


UNLISTED: Decision = (((), ACTIONS["SCMP_ACT_KILL_THREAD"]),)


def _error(where: str, what: str, hint: str) -> RunError:
    return RunError(f"linux.seccomp.{where}: {what}", hint)


def _known(table: Iterable[str], word: object, where: str) -> str:
    names = list(table)
    if not isinstance(word, str) or word not in names:
        raise _error(where, f"unknown {word!r}", f"one of {', '.join(names)}")
    return word


def _number(value: object, bits: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
        raise _error(where, f"{value!r} is no number of {bits} bits", f"give 0 to {(1 << bits) - 1}")
    return value


def _returned(action: object, number: object, where: str, key: str) -> int:
    """Return SECCOMP_RET_* of an action and its errno, EPERM where none is given."""
    name = _known(ACTIONS, action, f"{where}action" if key == "errnoRet" else "defaultAction")
    if name in WITH_NUMBER:
        return ACTIONS[name] | (EPERM if number is None else _number(number, 16, f"{where}{key}"))
    if number is not None:
        raise _error(f"{where}{key}", f"{name} returns no number", "leave it out")
    return ACTIONS[name]


def _condition(row: Mapping[str, Any], where: str) -> Condition:
    operator = _known(OPERATORS, row.get("op"), f"{where}op")
    index = _number(row.get("index"), 64, f"{where}index")
    if index > 5:
        raise _error(f"{where}index", f"{index}: a call has six arguments", "give 0 to 5")
    value = _number(row.get("value", 0), 64, f"{where}value")
    return index, operator, value, _number(row.get("valueTwo", 0), 64, f"{where}valueTwo")


def _alternatives(rows: Sequence[Mapping[str, Any]], where: str) -> list[tuple[Condition, ...]]:
    found = [_condition(row, f"{where}args[{at}].") for at, row in enumerate(rows)]
    if len({index for index, *_ in found}) < len(found):
        return [(each,) for each in found]
    return [tuple(found)]


def _places(name: str, here: Architecture, conditions: tuple[Condition, ...]) -> list[tuple[int, tuple[Placed, ...]]]:
    """Return the numbers by which a call can be made, and the conditions there."""
    found = []
    number = NUMBERS[name][here.column] if name in NUMBERS else -1
    if number >= 0:
        found.append((number, tuple((each, here.bits) for each in conditions)))
    if here is ARCHITECTURES[X86] and name in BEHIND and not conditions:
        call, at = BEHIND[name]
        found.append((NUMBERS[call][here.column], (((0, "SCMP_CMP_EQ", at, 0), here.bits),)))
    return found


class _Entry(Record):
    """One of ``syscalls``, checked."""

    names: tuple[str, ...]
    returns: int
    alternatives: tuple[tuple[Condition, ...], ...]


def _entries(seccomp: Mapping[str, Any]) -> list[_Entry]:
    found = []
    for at, row in enumerate(seccomp.get("syscalls") or ()):
        where = f"syscalls[{at}]."
        returns = _returned(row.get("action"), row.get("errnoRet"), where, "errnoRet")
        names = row.get("names")
        if not names:
            raise _error(f"{where}names", "empty", "name at least one system call")
        if row["action"] == NOTIFY and "sendmsg" in names:
            raise _error(
                f"{where}names", f"sendmsg can't be {NOTIFY}: it is how the listener is sent", "leave it out"
            )
        found.append(_Entry(tuple(names), returns, tuple(_alternatives(row.get("args") or (), where))))
    return found


def _starts(entries: Sequence[_Entry], default: int, newer: int, here: Architecture) -> dict[int, Decision]:
    """Return from which number on what is decided, for one architecture."""
    rules: dict[int, list[tuple[tuple[Placed, ...], int]]] = {}
    newest = -1
    for entry in entries:
        for name in entry.names:
            for alternative in entry.alternatives:
                for number, conditions in _places(name, here, alternative):
                    if newest < number < here.end:
                        newest = number
                    if entry.returns != default:
                        rules.setdefault(number, []).append((conditions, entry.returns))
    otherwise: Decision = (((), default),)
    starts = {here.first: otherwise}
    for number in sorted(rules):
        alone = next((each for each in rules[number] if not each[0]), None)
        starts[number] = (alone,) if alone else (*rules[number], *otherwise)
        starts[number + 1] = otherwise
    if newest >= 0:
        starts[newest + 1] = (((), newer),)
    starts.setdefault(here.end, otherwise)
    return starts


def _architectures(names: Iterable[object], machine: str) -> list[str]:
    """Return those that calls can come by, the machine's own first."""
    if machine not in NATIVE:
        raise RunError(f"linux.seccomp: no system calls' numbers for {machine}", f"known are {', '.join(NATIVE)}")
    asked = [_known((*ARCHITECTURES, *ELSEWHERE), name, "architectures") for name in names]
    return [name for name in dict.fromkeys((NATIVE[machine], *asked)) if name in ARCHITECTURES]


def _flags(names: Iterable[object], *, notify: bool) -> int:
    found = sum(FLAGS[name] for name in {_known(FLAGS, name, "flags") for name in names})
    return found if notify else found & ~WAIT_KILLABLE_RECV


def compile(seccomp: Mapping[str, Any], machine: str = "x86_64") -> Compiled:  # noqa: A001  (what it does)
    """Return the program for ``linux.seccomp`` on a machine; raises an Error that names the field and the value."""
    default = _returned(seccomp.get("defaultAction"), seccomp.get("defaultErrnoRet"), "", "defaultErrnoRet")
    if default == ACTIONS[NOTIFY]:
        raise _error("defaultAction", f"{NOTIFY} would hold up the runtime itself", "name the calls in syscalls")
    newer = default if seccomp["defaultAction"] in PERMISSIVE else ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS
    entries = _entries(seccomp)
    by_audit: dict[int, dict[int, Decision]] = {}
    asked = _architectures(seccomp.get("architectures") or (), machine)
    for here in (each for name, each in ARCHITECTURES.items() if name in asked):
        starts = by_audit.setdefault(here.audit, {})
        starts |= _starts(entries, default, newer, here)
        if here is ARCHITECTURES[X86_64]:
            starts |= {X32_BIT: UNLISTED, ARCHITECTURES[X32].end: (((), default),)}
    code = program(by_audit, UNLISTED)
    if len(code) // 8 > MAX_INSTRUCTIONS:
        raise RunError(
            f"linux.seccomp: {len(code) // 8} instructions, and the kernel takes {MAX_INSTRUCTIONS}",
            "leave out entries, or architectures",
        )
    notify = any(entry.returns == ACTIONS[NOTIFY] for entry in entries)
    return Compiled(code, _flags(seccomp.get("flags") or (), notify=notify), notify)

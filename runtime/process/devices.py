"""Which devices a container may use: Docker's default rules, for v1's device cgroup and v2's BPF program.

Rules are OCI's (config-linux.md, "Allowed Device list"), judged in order; for every right that is asked for
(r, w, m) the last rule that matches decides, as v1's devices.allow and devices.deny do. v2 has no such file:
a BPF_PROG_TYPE_CGROUP_DEVICE program answers instead, assembled here.
"""

from __future__ import annotations

import os
from _struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Rule = dict[str, Any]

NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
"""The devices every container has: name, major, minor (Documentation/admin-guide/devices.txt)."""


def _rule(allow: bool, access: str, type_: str = "a", major: int | None = None, minor: int | None = None) -> Rule:
    numbers = {key: value for key, value in (("major", major), ("minor", minor)) if value is not None}
    return {"allow": allow, "type": type_, **numbers, "access": access}


def default_rules(*, everything: bool = False) -> list[Rule]:
    """Return Docker's rules: no device but the usual ones and terminals; nodes may be made, not opened."""
    if everything:
        return [_rule(True, "rwm")]
    return [
        _rule(False, "rwm"),
        _rule(True, "m", "c"),
        _rule(True, "m", "b"),
        *(_rule(True, "rwm", "c", major, minor) for _, major, minor in NODES),
        _rule(True, "rwm", "c", 5, 1),  # /dev/console
        _rule(True, "rwm", "c", 5, 2),  # /dev/ptmx
        _rule(True, "rwm", "c", 136),  # /dev/pts/*
    ]


def default_nodes() -> list[dict[str, Any]]:
    """Return the device nodes of the container's /dev as OCI describes them."""
    return [
        {
            "path": f"/dev/{name}",
            "type": "c",
            "major": major,
            "minor": minor,
            "fileMode": 0o666,
            "uid": 0,
            "gid": 0,
        }
        for name, major, minor in NODES
    ]


def complete(rules: Sequence[Rule]) -> list[Rule]:
    """Return the rules with those for what every container has: a /dev/null that can't be opened helps nobody."""
    return [*rules, *(rule for rule in default_rules()[1:] if rule not in rules)]


def host_nodes(top: str = "/dev") -> list[dict[str, Any]]:
    """Return the host's device nodes as OCI describes them, but those of mounts the container has of its own."""
    found = []
    for at, names, files in os.walk(top):
        names[:] = [name for name in names if f"{at}/{name}" not in (f"{top}/pts", f"{top}/shm", f"{top}/mqueue")]
        for name in files:
            path = f"{at}/{name}"
            about = os.lstat(path)
            kind = {0o020000: "c", 0o060000: "b"}.get(about.st_mode & 0o170000)  # S_IFMT, S_IFCHR, S_IFBLK
            if kind and path not in (f"{top}/console", f"{top}/ptmx"):
                numbers = {"major": os.major(about.st_rdev), "minor": os.minor(about.st_rdev)}
                owner = {"fileMode": about.st_mode & 0o777, "uid": about.st_uid, "gid": about.st_gid}
                found.append({"path": f"/dev{path.removeprefix(top)}", "type": kind, **numbers, **owner})
    return found


def _numbers(rule: Rule) -> tuple[int | None, int | None]:
    """Return major and minor, None where any matches: OCI leaves them out, v1's writers say -1."""
    major, minor = rule.get("major"), rule.get("minor")
    return (None if major == -1 else major), (None if minor == -1 else minor)


def _access(rule: Rule) -> str:
    return rule.get("access") or "rwm"


def v1_rules(rules: Iterable[Rule]) -> list[tuple[str, str]]:
    """Return file and text of every write, in order (Documentation/admin-guide/cgroup-v1/devices.rst)."""
    writes = []
    for rule in rules:
        file = "devices.allow" if rule["allow"] else "devices.deny"
        type_ = rule.get("type") or "a"
        major, minor = ("*" if number is None else number for number in _numbers(rule))
        if type_ != "a":
            writes.append((file, f"{type_} {major}:{minor} {_access(rule)}"))
        elif (major, minor) == ("*", "*") and set(_access(rule)) >= set("rwm"):
            writes.append((file, "a"))
        else:  # to the kernel "a" is everything whatever follows it, so both types are spelt out
            writes += [(file, f"{each} {major}:{minor} {_access(rule)}") for each in "bc"]
    return writes


def _allowed(rules: Iterable[Rule]) -> dict[str, set[str]] | None:
    """Return what v1's device cgroup would allow after all rules: device to rights, None for everything.

    It takes back a right only in the words it was given in, which is the kernel's own rule (dev_exception_rm).
    """
    found: dict[str, set[str]] | None = {}
    for file, text in v1_rules(rules):
        device, _, access = text.rpartition(" ")
        if text == "a":
            found = None if file == "devices.allow" else {}
        elif found is None:
            return None  # everything but something: the kernel doesn't tell what
        elif file == "devices.allow":
            found.setdefault(device, set()).update(access)
        else:
            found.get(device, set()).difference_update(access)
    return found


def v1_changes(have: str, rules: Sequence[Rule]) -> list[tuple[str, str]]:
    """Return file and text of every write that makes ``devices.list``, now ``have``, what the rules say.

    Where both are lists of what is allowed only the difference is written: what stays is never without its right.
    """
    wanted = _allowed(rules)
    there = {device: set(access) for device, _, access in (line.rpartition(" ") for line in have.splitlines())}
    if wanted is None:
        return v1_rules(rules)
    if "a *:*" in there:
        return [
            ("devices.deny", "a"),
            *(("devices.allow", f"{device} {_letters(wanted[device])}") for device in wanted),
        ]
    granted = ((device, wanted[device] - there.get(device, set())) for device in wanted)
    taken = ((device, there[device] - wanted.get(device, set())) for device in there)
    return [
        *(("devices.allow", f"{device} {_letters(access)}") for device, access in granted if access),
        *(("devices.deny", f"{device} {_letters(access)}") for device, access in taken if access),
    ]


def _letters(access: Iterable[str]) -> str:
    return "".join(sorted(access, key="rwm".index))


# BPF (include/uapi/linux/bpf.h): one instruction is opcode, registers, jump offset and a 32-bit constant.
LOAD_WORD, MOVE, MOVE_REG, AND, SHIFT_RIGHT = 0x61, 0xB7, 0xBF, 0x57, 0x77
JUMP_EQUAL, JUMP_NOT_EQUAL, EXIT = 0x15, 0x55, 0x95
ANSWER, CONTEXT, ASKED, TYPE, MAJOR, MINOR = 0, 1, 2, 3, 4, 5
"""Registers: r0 is the answer (1 allows), r1 points to struct bpf_cgroup_dev_ctx, the rest is ours."""
TYPES = {"b": 1, "c": 2}
RIGHTS = {"m": 1, "r": 2, "w": 4}


def _instruction(opcode: int, to: int = 0, source: int = 0, jump: int = 0, constant: int = 0) -> bytes:
    return pack("<BBhi", opcode, source << 4 | to, jump, constant)


def _answer(allowed: int) -> list[bytes]:
    return [_instruction(MOVE, ANSWER, constant=allowed), _instruction(EXIT)]


def _block(rule: Rule) -> list[bytes]:
    """Return the instructions of one rule; control falls through to the next where it decides nothing."""
    rights = sum(RIGHTS[letter] for letter in set(_access(rule)) if letter in RIGHTS)
    if rule["allow"]:  # what it grants needs no further asking; nothing left to ask: allowed
        verdict = [
            _instruction(AND, ASKED, constant=~rights),
            _instruction(JUMP_NOT_EQUAL, ASKED, jump=2),
            *_answer(1),
        ]
    else:
        verdict = [
            _instruction(MOVE_REG, ANSWER, ASKED),
            _instruction(AND, ANSWER, constant=rights),
            _instruction(JUMP_EQUAL, ANSWER, jump=2),
            *_answer(0),
        ]
    major, minor = _numbers(rule)
    tests = ((TYPE, TYPES.get(rule.get("type") or "a")), (MAJOR, major), (MINOR, minor))
    wanted = [(register, value) for register, value in tests if value is not None]
    guards = [
        _instruction(JUMP_NOT_EQUAL, register, jump=len(wanted) - index - 1 + len(verdict), constant=value)
        for index, (register, value) in enumerate(wanted)
    ]
    return guards + verdict


def _decides_all(rule: Rule) -> bool:
    return (rule.get("type") or "a") == "a" and _numbers(rule) == (None, None) and set(_access(rule)) >= set("rwm")


def bpf_program(rules: Sequence[Rule]) -> bytes:
    """Return the program that judges as the rules do, ready for BPF_PROG_LOAD.

    Rules are tried last first; what none of them grants is denied. The context's ``access_type`` holds the
    device's type in its lower half and the rights asked for in its upper one.
    """
    program = [
        _instruction(LOAD_WORD, ASKED, CONTEXT, 0),
        _instruction(MOVE_REG, TYPE, ASKED),
        _instruction(AND, TYPE, constant=0xFFFF),
        _instruction(SHIFT_RIGHT, ASKED, constant=16),
        _instruction(LOAD_WORD, MAJOR, CONTEXT, 4),
        _instruction(LOAD_WORD, MINOR, CONTEXT, 8),
    ]
    for rule in reversed(rules):
        program += _block(rule)
        if _decides_all(rule):
            break
    return b"".join(program + _answer(0))

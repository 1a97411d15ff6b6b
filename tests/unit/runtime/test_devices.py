"""Device rules: v1's texts, and the BPF program under an interpreter of the few instructions it uses."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.process import devices

RIGHTS = {"m": 1, "r": 2, "w": 4}
MASK = 2**64 - 1


def interpret(program: bytes, type_: str, major: int, minor: int, access: str) -> bool:
    """Run a program on struct bpf_cgroup_dev_ctx as the kernel would (bpf/instruction-set.rst)."""
    rights = sum(RIGHTS[letter] for letter in access)
    context = struct.pack("<III", rights << 16 | devices.TYPES[type_], major, minor)
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    registers = [0] * 11
    at = 0
    while True:
        opcode, operands, jump, constant = code[at]
        to, source, at = operands & 15, operands >> 4, at + 1
        if opcode == 0x61:
            assert source == 1
            registers[to] = struct.unpack_from("<I", context, jump)[0]
        elif opcode == 0xB7:
            registers[to] = constant & MASK
        elif opcode == 0xBF:
            registers[to] = registers[source]
        elif opcode == 0x57:
            registers[to] &= constant & MASK
        elif opcode == 0x77:
            registers[to] >>= constant
        elif opcode == 0x15:
            at += jump if registers[to] == constant & MASK else 0
        elif opcode == 0x55:
            at += jump if registers[to] != constant & MASK else 0
        elif opcode == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"opcode {opcode:#x}")
        assert jump >= 0, "a jump back would be a loop"


def judge(rules: list[dict[str, Any]], type_: str, major: int, minor: int, access: str) -> bool:
    """Say by the rules' own meaning what is allowed: for each right the last rule that matches decides."""

    def matches(rule: dict[str, Any], right: str) -> bool:
        return (
            rule.get("type", "a") in ("a", type_)
            and rule.get("major", major) in (-1, major)
            and rule.get("minor", minor) in (-1, minor)
            and right in rule.get("access", "rwm")
        )

    verdicts = [[rule["allow"] for rule in rules if matches(rule, right)] for right in access]
    return all(found and found[-1] for found in verdicts)


@pytest.mark.parametrize(
    ("type_", "major", "minor", "access", "expected"),
    [
        ("c", 1, 3, "rw", True),
        ("c", 1, 5, "r", True),
        ("c", 1, 8, "rw", True),
        ("c", 5, 0, "rw", True),
        ("c", 5, 2, "rw", True),
        ("c", 136, 77, "rw", True),
        ("c", 1, 1, "r", False),
        ("c", 10, 229, "rw", False),
        ("c", 7, 7, "m", True),
        ("b", 8, 0, "m", True),
        ("b", 8, 0, "r", False),
        ("b", 8, 0, "w", False),
        ("b", 1, 3, "r", False),
        ("b", 254, 0, "rw", False),
        ("c", 1, 4, "mr", False),
    ],
)
def test_default_rules(type_: str, major: int, minor: int, access: str, expected: bool) -> None:
    """Usual devices and terminals may be used and nodes be made; nothing else, no disk, can be opened."""
    rules = devices.default_rules()
    assert interpret(devices.bpf_program(rules), type_, major, minor, access) is expected
    assert judge(rules, type_, major, minor, access) is expected


rule = st.fixed_dictionaries(
    {"allow": st.booleans()},
    optional={
        "type": st.sampled_from("abc"),
        "major": st.integers(-1, 2),
        "minor": st.integers(-1, 2),
        "access": st.sampled_from(["r", "w", "m", "rw", "rwm"]),
    },
)


@given(st.lists(rule, max_size=6))
def test_the_program_judges_as_the_rules(rules: list[dict[str, Any]]) -> None:
    """Whatever the rules, the program gives their verdict for every device and access."""
    program = devices.bpf_program(rules)
    for type_, major, minor, access in itertools.product("bc", (0, 1, 2), (0, 2), ("r", "w", "m", "rw")):
        assert interpret(program, type_, major, minor, access) is judge(rules, type_, major, minor, access)


def test_no_rules_allow_nothing() -> None:
    """An empty list denies: a forgotten rule must not open a disk."""
    assert not interpret(devices.bpf_program([]), "c", 1, 3, "r")


def test_v1_rules() -> None:
    """Rules become v1's writes in their order, everything first."""
    found = devices.v1_rules(devices.default_rules())
    assert found[:3] == [("devices.deny", "a"), ("devices.allow", "c *:* m"), ("devices.allow", "b *:* m")]
    assert ("devices.allow", "c 1:3 rwm") in found
    assert found[-1] == ("devices.allow", "c 136:* rwm")


def test_v1_rules_of_any_type() -> None:
    """A rule for both types that is not everything is spelt out: to v1 a bare "a" is everything."""
    assert devices.v1_rules([{"allow": True, "type": "a", "access": "r"}]) == [
        ("devices.allow", "b *:* r"),
        ("devices.allow", "c *:* r"),
    ]
    assert devices.v1_rules([{"allow": True, "major": -1, "minor": -1}]) == [("devices.allow", "a")]


def test_nodes_are_allowed() -> None:
    """Every node of the container's /dev may be used."""
    program = devices.bpf_program(devices.default_rules())
    for node in devices.default_nodes():
        assert interpret(program, node["type"], node["major"], node["minor"], "rw")


RULE = st.fixed_dictionaries(
    {
        "allow": st.booleans(),
        "type": st.sampled_from("bc"),
        "major": st.sampled_from([None, 1, 5]),
        "minor": st.sampled_from([None, 3]),
        "access": st.sampled_from(["r", "rw", "rwm", "m"]),
    }
)


def listed(have: str, writes: list[tuple[str, str]]) -> str:
    """Return devices.list after writes, as security/device_cgroup.c keeps it."""
    found = {line.rpartition(" ")[0]: set(line.rpartition(" ")[2]) for line in have.splitlines()}
    for file, text in writes:
        device, _, access = text.rpartition(" ")
        if text == "a":
            found = {"a *:*": set("rwm")} if file == "devices.allow" else {}
        elif "a *:*" in found:
            assert file == "devices.allow", "what isn't listed can't be checked"
        elif file == "devices.allow":
            found[device] = found.get(device, set()) | set(access)
        elif device in found:
            found[device] -= set(access)
    return "\n".join(f"{device} {''.join(sorted(access))}" for device, access in sorted(found.items()) if access)


@given(st.lists(RULE), st.lists(RULE))
def test_v1_is_changed_by_the_difference(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Whatever was allowed, afterwards what the new rules say is; what both allow is never taken away meanwhile."""
    nothing: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    everything = "a *:* rwm"
    old = listed(everything, devices.v1_changes(everything, nothing + before))
    new = listed(everything, devices.v1_rules(nothing + after))
    writes = devices.v1_changes(old, nothing + after)
    assert listed(old, writes) == new
    assert devices.v1_changes(new, nothing + after) == []
    for step in range(len(writes)):
        now = listed(old, writes[:step])
        for line in set(old.splitlines()) & set(new.splitlines()):
            device, _, access = line.rpartition(" ")
            assert any(at.startswith(f"{device} ") and set(access) <= set(at.split()[-1]) for at in now.splitlines())


def test_v1_and_everything() -> None:
    """A list begins with nothing allowed, also if the rules don't say so; all is allowed in one word."""
    rule = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}
    assert devices.v1_changes("a *:* rwm\n", [rule]) == [("devices.deny", "a"), ("devices.allow", "c 1:3 rw")]
    assert devices.v1_changes("c 1:3 rw\n", devices.default_rules(everything=True)) == [("devices.allow", "a")]


def test_usual_devices_are_always_there() -> None:
    """Rules that leave out /dev/null and its like get them; those that have them get nothing twice."""
    program = devices.bpf_program(devices.complete([{"allow": False, "access": "rwm"}]))
    assert interpret(program, "c", 1, 3, "rw")
    assert not interpret(program, "c", 1, 1, "r")
    assert devices.complete(devices.default_rules()) == devices.default_rules()


def test_the_hosts_nodes() -> None:
    """They are found with type and numbers, but those of file systems a container has of its own."""
    found = {node["path"]: node for node in devices.host_nodes()}
    assert (found["/dev/null"]["type"], found["/dev/null"]["major"], found["/dev/null"]["minor"]) == ("c", 1, 3)
    assert not [path for path in found if path.startswith("/dev/pts/")]

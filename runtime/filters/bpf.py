"""Classic BPF for seccomp: from decisions about numbers of calls to instructions (seccomp(2), filter.rst)."""

from __future__ import annotations

from _struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Condition = tuple[int, str, int, int]
    """Index, operator, value and, for MASKED_EQ, what is wanted under that mask."""
    Placed = tuple[Condition, int]
    """And how many bits of the argument count."""
    Decision = tuple[tuple[tuple[Placed, ...], int], ...]
    """Alternatives in order: conditions, and what is returned where they hold. The last has none."""
    Intervals = list[tuple[int, Decision]]
    """From which number on, what is decided."""


# Classic BPF (include/uapi/linux/filter.h): one instruction is opcode, jumps if true and false, and a constant.
LOAD, AND, JUMP, EQUAL, GREATER, AT_LEAST, RETURN = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
"""Where struct seccomp_data has them; an argument's lower half comes first."""


OPERATORS = {
    "SCMP_CMP_NE": (EQUAL, False), "SCMP_CMP_LT": (AT_LEAST, False), "SCMP_CMP_LE": (GREATER, False),
    "SCMP_CMP_EQ": (EQUAL, True), "SCMP_CMP_GE": (AT_LEAST, True), "SCMP_CMP_GT": (GREATER, True),
    "SCMP_CMP_MASKED_EQ": (EQUAL, True),
}  # fmt: skip
"""The comparison BPF has, and whether it is to hold or to fail."""


def _merged(starts: Mapping[int, Decision]) -> Intervals:
    """Return them in order, without those that decide what the one before decides."""
    found: Intervals = []
    for start in sorted(starts):
        if not found or found[-1][1] != starts[start]:
            found.append((start, starts[start]))
    return found


def _instruction(opcode: int, constant: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return pack("=HBBI", opcode, if_true, if_false, constant)


def _check(placed: Placed, rest: int) -> list[bytes]:
    """Return one comparison; where it doesn't hold, ``rest`` further instructions are skipped."""
    (index, operator, value, wanted), bits = placed
    opcode, holds = OPERATORS[operator]
    masked = operator == "SCMP_CMP_MASKED_EQ"

    def half(at: int, shift: int) -> tuple[list[bytes], int]:
        load = [_instruction(LOAD, ARGUMENTS_AT + 8 * index + at)]
        if masked:
            load.append(_instruction(AND, value >> shift & 0xFFFFFFFF))
        return load, (wanted if masked else value) >> shift & 0xFFFFFFFF

    load, constant = half(0, 0)
    lower = [*load, _instruction(opcode, constant, *((0, rest) if holds else (rest, 0)))]
    if bits == 32:
        return lower
    load, constant = half(4, 32)
    after = len(lower)
    if opcode == EQUAL:  # where the upper halves differ, that is the answer
        return [*load, _instruction(EQUAL, constant, 0, after + rest if holds else after), *lower]
    greater = (after + 1, 0) if holds else (after + 1 + rest, 0)
    less = (0, after + rest) if holds else (0, after)
    return [*load, _instruction(GREATER, constant, *greater), _instruction(EQUAL, constant, *less), *lower]


def _leaf(decision: Decision) -> list[bytes]:
    code: list[bytes] = []
    for conditions, returns in decision:
        tail = [_instruction(RETURN, returns)]
        for condition in reversed(conditions):
            tail = _check(condition, len(tail)) + tail
        code += tail
    return code


def _tree(intervals: Intervals) -> list[bytes]:
    """Return a bisection; BPF jumps 255 instructions by condition, and any number without one."""
    if len(intervals) == 1:
        return _leaf(intervals[0][1])
    half = len(intervals) // 2
    low, high = _tree(intervals[:half]), _tree(intervals[half:])
    at = intervals[half][0]
    if len(low) < 256:
        return [_instruction(AT_LEAST, at, len(low)), *low, *high]
    return [_instruction(AT_LEAST, at, 0, 1), _instruction(JUMP, len(low)), *low, *high]


def block(audit: int, starts: Mapping[int, Decision]) -> list[bytes]:
    """Return what is decided about the calls of one AUDIT_ARCH_*, ``starts`` from which number on; others go on."""
    code = [_instruction(LOAD, NUMBER_AT), *_tree(_merged(starts))]
    return [_instruction(EQUAL, audit, 1), _instruction(JUMP, len(code)), *code]


def program(by_audit: Mapping[int, Mapping[int, Decision]], otherwise: Decision) -> bytes:
    """Return the whole of it; ``otherwise`` is for the architectures that are not there."""
    blocks = [block(audit, starts) for audit, starts in by_audit.items()]
    code = [[_instruction(LOAD, ARCHITECTURE_AT)], *blocks, _leaf(otherwise)]
    return b"".join(instruction for part in code for instruction in part)

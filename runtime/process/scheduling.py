"""What of an OCI process sets how much it may use and when it runs: rlimits, scheduler, io priority, personality."""

from __future__ import annotations

import os

from runtime import units
from runtime.errors import RunError
from runtime.kernel import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

RLIMITS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        (
            "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS",
            "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
        )
    )
}  # fmt: skip
"""include/uapi/asm-generic/resource.h"""
POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
POLICY_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4, "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16, "SCHED_FLAG_UTIL_CLAMP_MIN": 32, "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}  # fmt: skip
"""include/uapi/linux/sched.h"""
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MODE_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
"""include/uapi/linux/mempolicy.h"""
DOMAINS = {"LINUX": 0, "LINUX32": 8}
"""include/uapi/linux/personality.h"""


def _known(value: str, table: Mapping[str, int], field: str) -> int:
    if value not in table:
        raise RunError(f"config.json: {field}: {value!r} is unknown", f"one of {', '.join(table)}")
    return table[value]


def check(process: Mapping[str, Any]) -> None:
    """See that the words are known; raises an Error naming the field."""
    if scheduler := process.get("scheduler"):
        _known(scheduler["policy"], POLICIES, "process.scheduler.policy")
        for flag in scheduler.get("flags", ()):
            _known(flag, POLICY_FLAGS, "process.scheduler.flags")
    if priority := process.get("ioPriority"):
        _known(priority["class"], IO_CLASSES, "process.ioPriority.class")


def check_container(linux: Mapping[str, Any]) -> None:
    """See that the words for the whole container are known; raises an Error naming the field."""
    if persona := linux.get("personality"):
        _known(persona["domain"], DOMAINS, "linux.personality.domain")
        if persona.get("flags"):
            raise RunError("config.json: linux.personality.flags: none are known", "leave them out")

    if policy := linux.get("memoryPolicy"):
        _known(policy["mode"], MODES, "linux.memoryPolicy.mode")
        for flag in policy.get("flags", ()):
            _known(flag, MODE_FLAGS, "linux.memoryPolicy.flags")
        if policy.get("nodes"):
            units.cpu_numbers(policy["nodes"], "config.json: linux.memoryPolicy.nodes")


def affinity(text: str) -> list[int]:
    """Return the CPUs of a list such as ``0-2,4``; raises an Error."""
    return sorted(units.cpu_numbers(text, "process.execCPUAffinity"))


def apply(process: Mapping[str, Any], linux: Mapping[str, Any]) -> None:
    """Set all of it for the calling process, which is still privileged; raises OSError.

    ``linux`` says what holds for all processes of the container.
    """
    for limit in process["rlimits"]:
        try:
            sc.setrlimit(RLIMITS[limit["type"]], limit["soft"], limit["hard"])
        except OSError as error:
            text = f"{limit['type']} {limit['soft']}:{limit['hard']}: {error.strerror}"
            raise RunError(text, "raising a hard limit needs CAP_SYS_RESOURCE") from error
    if scheduler := process.get("scheduler"):
        flags = sum(POLICY_FLAGS[flag] for flag in scheduler.get("flags", ()))
        times = scheduler.get("runtime", 0), scheduler.get("deadline", 0), scheduler.get("period", 0)
        policy, priority = POLICIES[scheduler["policy"]], scheduler.get("priority", 0)
        sc.sched_setattr(policy, flags, scheduler.get("nice", 0), priority, times)
    if priority := process.get("ioPriority"):
        sc.ioprio_set(IO_CLASSES[priority["class"]], priority.get("priority", 0))
    if memory := linux.get("memoryPolicy"):
        _set_policy(memory)
    if persona := linux.get("personality"):
        sc.personality(DOMAINS[persona["domain"]])
    os.umask(process["user"].get("umask", 0o022))


def _set_policy(policy: Mapping[str, Any]) -> None:
    mode = MODES[policy["mode"]] | sum(MODE_FLAGS[flag] for flag in set(policy.get("flags", ())))
    nodes = units.cpu_numbers(policy["nodes"], "linux.memoryPolicy.nodes") if policy.get("nodes") else ()
    try:
        sc.set_mempolicy(mode, nodes)
    except OSError as error:
        text = f"linux.memoryPolicy: {policy['mode']} {policy.get('nodes', '')}: {error.strerror}"
        raise RunError(text, "name nodes this machine has, and flags its kernel knows") from error

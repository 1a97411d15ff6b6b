"""sys/devices/system/node: the host's memory nodes, with the CPUs the container sees and no more than its memory.

Which nodes there are is a property of the machine. A line of a node's meminfo is never above the same line of
proc/meminfo, from which it is taken.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lxcfs_py.procfs import cpulist, cpumask
from lxcfs_py.procfs import meminfo as meminfo_parser
from lxcfs_py.procfs import vmstat as vmstat_parser
from lxcfs_py.reader import COUNT
from lxcfs_py.rule import Rule
from lxcfs_py.served import NODE
from lxcfs_py.views import cpus, meminfo, vmstat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxcfs_py.container import Container
    from lxcfs_py.reader import Reader

USE = {**meminfo.FROM_STAT, "FilePages": "file"}
"""Lines about use, and their keys of memory.stat and memory.numa_stat."""
CPUS = ("cpulist", "cpumap")
MEMORY = ("meminfo", "vmstat")
UNKNOWN = ("numastat",)
"""Counters that no cgroup has: 0."""
_FILE = re.compile(rf"{NODE}/node([0-9]{{1,5}})/([a-z]+)")
_LINE = re.compile(rb"^(Node [0-9]+ )([^:\n]+):([ \t]*[0-9]{1,18})(?= kB$|[ \t]*$)", re.MULTILINE)


def _rule(rule: Rule, name: str) -> Rule:
    if name not in USE and name not in meminfo.SUMS:
        return rule if rule.formula.startswith("0") else rule.replace(formula=f"{rule.formula}; at most the node's")
    formula = f"{rule.formula}; with several nodes at most the node's part of it, v1: at most the node's line"
    return rule.replace(formula=formula, v2=tuple(spec.replace("memory.stat", "memory.*stat") for spec in rule.v2))


_CPUS = COUNT.replace(formula=f"the node's CPUs that are seen, by their new numbers; {COUNT.formula}")
_MEMORY = {
    **{f"Node * {name}": _rule(rule, name) for name, rule in meminfo.LINES.items()},
    "Node * FilePages": _rule(Rule("file", ("memory.stat:file",), ("memory.stat:total_cache",)), "FilePages"),
    "Node * MemUsed": meminfo.LINES["MemFree"].replace(formula="MemTotal - MemFree"),
}


def rules(path: str) -> dict[str, Rule]:
    """Return the rules of a file's lines."""
    match = _FILE.fullmatch(path)
    if match is None:
        return {}
    name = match[2]
    if name in UNKNOWN:
        return {"*": Rule("0: not known of a cgroup")}
    if name == "meminfo":
        return {line: rule.replace(host=(f"{path}:LINE",)) if rule.host else rule for line, rule in _MEMORY.items()}
    return {name: _CPUS} if name in CPUS else {}


def lines(node: Mapping[str, int], own: Mapping[str, int], part: Mapping[str, int] | None) -> dict[str, int]:
    """Return a node's lines in bytes (HugePages_*: in pages), of its own on the host and of the container's meminfo.

    ``part`` is what memory.numa_stat says of the node; None if there is but one, and all use is of it.
    """
    own = {**own, "FilePages": own.get("Cached", 0) + own.get("SwapCached", 0)}
    found = {}
    for name, most in node.items():
        if name in USE and name in own:
            found[name] = own[name] if part is None else min(own[name], part.get(USE[name], most))
        elif name in own:
            found[name] = min(most, own[name])
    for name, parts in meminfo.SUMS.items():
        if all(each in found for each in (name, *parts)):
            found[name] = min(own[name], sum(found[each] for each in parts))
    if "MemTotal" in found and "MemFree" in found:
        found["MemFree"] = min(found["MemFree"], found["MemTotal"])
        found["MemUsed"] = found["MemTotal"] - found["MemFree"]
    return found


def parse(host: bytes) -> dict[str, int]:
    """Return a node's lines by name, as ``procfs.meminfo.parse`` does."""
    return meminfo_parser.parse(re.sub(rb"^Node [0-9]+ ", b"", host, flags=re.MULTILINE))


def render(host: bytes, found: Mapping[str, int]) -> bytes:
    """Return the text with these values, each as wide as it was; other lines stay."""

    def line(match: re.Match[bytes]) -> bytes:
        value = found.get(match[2].decode("latin-1"))
        if value is None:
            return match[0]
        value >>= 10 if host.startswith(b" kB", match.end()) else 0
        return match[1] + match[2] + b":" + str(value).encode().rjust(len(match[3]))

    return _LINE.sub(line, host)


def render_cpus(name: str, host: bytes, seen: tuple[int, ...]) -> bytes:
    """Return the list or mask of those of a node's CPUs that are seen."""
    if name == "cpulist":
        return f"{cpulist.render(cpus.renumbered(cpulist.parse(host), seen))}\n".encode()
    return f"{cpumask.render(cpus.renumbered(cpumask.parse(host), seen), host)}\n".encode()


def read(reader: Reader, container: Container, path: str) -> bytes:
    """Return the text of a file below the directory; raises OSError where the host has none."""
    host = reader.host_bytes(cpus.path_for(reader, container, path))
    match = _FILE.fullmatch(path)
    if match is None:
        return host
    name = match[2]
    if name in CPUS:
        seen = cpus.seen_by(reader, container)
        return host if seen is None else render_cpus(name, host, seen)
    if name in UNKNOWN:
        return vmstat_parser.rewrite(host, {})
    return _memory(reader, container, int(match[1]), name, host) if name in MEMORY else host


def _memory(reader: Reader, container: Container, node: int, name: str, host: bytes) -> bytes:
    own = meminfo.of(reader, container, meminfo_parser.parse(reader.host_bytes(meminfo.PATH)))
    several = len(cpulist.parse(reader.host_bytes(f"{NODE}/has_memory"))) > 1
    part = reader.cgroups.numa_stat(container.cgroup).get(node, {}) if several else None
    text = host if name == "meminfo" else reader.host_bytes(f"{NODE}/node{node}/meminfo")
    found = lines(parse(text), own, part)
    if name == "meminfo":
        return render(host, found)
    found["Cached"] = found.get("FilePages", 0) - found.get("SwapCached", 0)
    levels = reader.cgroups.memory(container.cgroup)
    stat = part if part is not None else levels[0].stat if levels else {}
    return vmstat_parser.rewrite(host, vmstat.values(vmstat_parser.parse(host), found, stat, (), 0))

"""``pyproc update``: change a container's limits while it runs."""

from __future__ import annotations

from lxcfs_py.errors import Error
from runtime import state, units
from runtime.command_line import Option
from runtime.config import bundle
from runtime.errors import RunError
from runtime.process import resources
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from runtime.command_line import Parsed

SINGLE = (
    (Option(("-m", "--memory"), "Memory limit", "SIZE", "swap"), "memory", "limit"),
    (Option(("--memory-reservation",), "Memory left to it under pressure", "SIZE", "size"), "memory", "reservation"),
    (Option(("--memory-swap",), "Limit of memory and swap together (-1: none)", "SIZE", "swap"), "memory", "swap"),
    (Option(("--cpu-period",), "Period of the CPU quota, in microseconds", "N", "count"), "cpu", "period"),
    (Option(("--cpu-quota",), "CPU time per period, in microseconds (-1: no limit)", "N", "pids"), "cpu", "quota"),
    (Option(("--cpu-shares", "--cpu-share"), "Weight against others", "N", "count"), "cpu", "shares"),
    (Option(("--cpu-burst",), "CPU time that may be saved up, in microseconds", "N", "count"), "cpu", "burst"),
    (Option(("--cpu-idle",), "1: only what nobody else wants", "N", "count"), "cpu", "idle"),
    (Option(("--cpu-rt-period",), "Period of real-time tasks (us)", "N", "count"), "cpu", "realtimePeriod"),
    (Option(("--cpu-rt-runtime",), "What they may use of it (us)", "N", "count"), "cpu", "realtimeRuntime"),
    (Option(("--blkio-weight",), "Weight of reads and writes, 10 to 1000", "N", "count"), "blockIO", "weight"),
    (Option(("--cpuset-cpus",), "CPUs to run on", "LIST", "cpulist"), "cpu", "cpus"),
    (Option(("--cpuset-mems",), "Memory nodes to use", "LIST", "cpulist"), "cpu", "mems"),
    (Option(("--pids-limit",), "Limit of processes and threads (-1: none)", "N", "pids"), "pids", "limit"),
)  # fmt: skip
"""An option for a single limit, and where it stands in ``linux.resources``."""
VERB = Verb(
    "update",
    "Change a container's limits.",
    "ID",
    1,
    1,
    (
        Option(("-r", "--resources"), "Read OCI's resources from a file, - for the standard input", "FILE"),
        Option(("--cpus",), "CPU time, in CPUs", "N", "cpus"),
        *(option for option, _, _ in SINGLE),
    ),
)


def asked(parsed: Parsed) -> dict[str, Any]:
    """Return the resources to set; raises an Error naming the field that is wrong."""
    if parsed["resources"]:
        found = bundle.read_json("/dev/stdin" if parsed["resources"] == "-" else parsed["resources"])
        bundle.shape(found, bundle.RESOURCES, "resources")
        return dict(bundle.without_nulls(found))
    found = {}
    for option, part, field in SINGLE:
        if parsed[option.name] is not None:
            found.setdefault(part, {})[field] = parsed[option.name]
    if parsed["cpus"] is not None:
        if "quota" in found.get("cpu", {}) or "period" in found.get("cpu", {}):
            raise RunError("--cpus with --cpu-quota or --cpu-period: they say the same", "leave out one of both")
        found.setdefault("cpu", {}).update(resources.quota(parsed["cpus"]))
    if found.get("pids") == {"limit": 0}:  # as pyproc-run and docker have it, not as OCI's resources
        found["pids"] = {"limit": -1}
    return found


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return resources with some of them changed."""
    both = {key: {**old.get(key, {}), **value} for key, value in new.items() if isinstance(value, dict)}
    return {**old, **new, **both}


def check(whole: dict[str, Any]) -> None:
    """Raise an Error if memory and swap together would be less than memory: it could not be started again so."""
    memory = whole.get("memory", {})
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if 0 < swap < limit:
        text = f"-m {units.show(limit)}: more than --memory-swap {units.show(swap)}, which counts both"
        raise RunError(text, "give both")


def run(args: Sequence[str]) -> int:
    """Change them, in the cgroups and in what is known of the container."""
    parsed = VERB.read(args)
    if parsed is None:
        return 0
    from runtime import places
    from runtime.lifecycle import again, finding, members
    from runtime.process import cgroups

    new = asked(parsed)  # not locked: who is to write it may take its time
    with finding.Locked(parsed, parsed.rest[0]) as held:
        found = held.load()
        if (now := state.status(held.root, found, locked=True)) == state.STOPPED:
            raise Error(f"container {held.id!r} can't be updated: it is {now}", "only what exists has limits")
        members.needs_cgroup(found, "updated")
        config = state.config(found)
        if parsed["resources"]:
            bundle.limit_none(new, config["ociVersion"])
        linux = config["linux"]
        whole = merged(linux.get("resources", {}), new)
        if not parsed["resources"]:
            check(whole)
        cgroups.update(places.host(), places.layout(found.cgroup), found.cgroup, new, found.unit)
        state.write(f"{found.directory}/config.json", {**config, "linux": {**linux, "resources": whole}})
        again.renew(found)
    return 0

"""``pyproc update``: change containers' limits while they run, or for when they run again."""

from __future__ import annotations

from runtime import state, units
from runtime.command_line import Option, Parsed
from runtime.config import bundle, validate
from runtime.errors import RunError
from runtime.process import resources
from runtime.verbs import Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.state import State

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
    "Change containers' limits, of one that has ended for when it runs again; and when systemd starts it again.",
    "ID...",
    1,
    None,
    (
        Option(("-r", "--resources"), "Read OCI's resources from a file, - for the standard input", "FILE"),
        Option(("--cpus",), "CPU time, in CPUs", "N", "cpus"),
        *(option for option, _, _ in SINGLE),
        Option(
            ("--restart",),
            "When systemd starts it again: no, on-failure[:N], always or unless-stopped (from its next start on, if"
            " systemd did not start it)",
            "POLICY",
        ),
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


def check(whole: dict[str, Any], *, runs: bool) -> None:
    """Raise an Error if it could not be started so: the kernel tells only of what runs.

    If memory and swap together are less than memory, it can't be changed so either.
    """
    memory = whole.get("memory", {})
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if 0 < swap < limit:
        text = f"-m {units.show(limit)}: more than --memory-swap {units.show(swap)}, which counts both"
        raise RunError(text, "give both")
    if not runs and limit > 0:
        reserved = memory.get("reservation") or None
        validate.memory(
            Parsed({"memory": limit, "memory_swap": None, "memory_reservation": reserved}), validate.Facts()
        )


def _limits(parsed: Parsed, found: State, new: dict[str, Any], *, runs: bool) -> dict[str, Any]:
    """Change them, in the cgroups if there are any; return the configuration that has them."""
    from runtime import places
    from runtime.lifecycle import members
    from runtime.process import cgroups

    config = state.config(found)
    if parsed["resources"]:
        bundle.limit_none(new, config["ociVersion"])
    linux = config["linux"]
    whole = merged(linux.get("resources", {}), new)
    if not parsed["resources"]:
        check(whole, runs=runs)
    if runs:
        members.needs_cgroup(found, "updated")
        cgroups.update(places.host(), places.layout(found.cgroup), found.cgroup, new, found.unit)
    return {**config, "linux": {**linux, "resources": whole}}


def _policy(found: State, config: dict[str, Any], asked: str) -> tuple[State, dict[str, Any]]:
    """Have systemd start it again, or no more; return its state and configuration that say so."""
    from runtime import places
    from runtime.lifecycle import again, ending, service

    word, _ = service.policy(asked)
    again.kept(found)
    if word == "no" and state.RESTART not in found.annotations:
        return found, config
    service.refuse_without_systemd()
    changed = found.replace(annotations={**found.annotations, state.RESTART: asked})
    service.renew(changed, service.unit(changed, asked, ending.manner(found, None, None)[1], places.pyproc()))
    return changed, {**config, "annotations": {**config["annotations"], state.RESTART: asked}}


def update(parsed: Parsed, text: str, new: dict[str, Any]) -> None:
    """Change one, in the cgroups and in what is known of it."""
    from runtime.lifecycle import again, finding

    with finding.Locked(parsed, text) as held:
        before = found = held.load()
        runs = state.status(held.root, found, locked=True) != state.STOPPED
        if not runs:
            again.kept(found)
        config = _limits(parsed, found, new, runs=runs) if new else state.config(found)
        if parsed["restart"]:
            found, config = _policy(found, config, parsed["restart"])
        state.write(f"{found.directory}/config.json", config)
        if found is not before:
            state.save(found)
        again.renew(found)


def run(parsed: Parsed) -> int:
    """Change each."""
    new = asked(parsed)  # not locked: who is to write it may take its time
    for text in parsed.rest:
        update(parsed, text, new)
    return 0

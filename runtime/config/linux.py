"""What of a configuration is Linux's: Docker's usual mounts, devices and hidden paths, as options change them."""

from __future__ import annotations

from runtime.config import validate
from runtime.options import manager
from runtime.process import devices, resources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from runtime.command_line import Parsed

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)  # fmt: skip
"""What Docker hides: keys, kernel memory, and timing that tells about other containers."""
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

HARDENED = ("nosuid", "noexec", "nodev")


def _mount(destination: str, type_: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": type_, "source": type_, "options": list(options)}


DEFAULT_MOUNTS = (
    _mount("/proc", "proc", *HARDENED),
    _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
    _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    _mount("/dev/shm", "tmpfs", *HARDENED, "mode=1777", "size=65536k"),
    _mount("/dev/mqueue", "mqueue", *HARDENED),
    _mount("/sys", "sysfs", *HARDENED, "ro"),
    _mount("/sys/fs/cgroup", "cgroup", *HARDENED, "relatime", "ro"),
)


SHM = "/dev/shm"


def mounts(options: Parsed) -> list[dict[str, Any]]:
    """Return the usual mounts; a privileged container may write to /sys, its cgroups among it."""
    found = []
    for mount in DEFAULT_MOUNTS:
        place, words = mount["destination"], mount["options"]
        if options["privileged"]:
            words = [word for word in words if word != "ro"]
        if place == SHM and options["shm_size"]:
            words = [*(word for word in words if not word.startswith("size=")), f"size={options['shm_size']}"]
        if place == SHM and options["ipc"] == "host":
            found.append(_mount(place, "bind", "bind", *HARDENED) | {"source": place})
        elif place != SHM or options["ipc"] != "none":
            found.append({**mount, "options": words})
    return found


def _kernel() -> Any:
    from runtime.config import kernel  # what few ask for

    return kernel


def rlimits(options: Parsed) -> list[dict[str, Any]]:
    """Return ``process.rlimits``."""
    return list(_kernel().rlimits(options["ulimit"])) if options["ulimit"] else []


def _devices(options: Parsed) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the nodes of its /dev, and the rules for those beyond the usual ones."""
    nodes = devices.host_nodes() if options["privileged"] else devices.default_nodes()
    if not (options["device"] or options["device_cgroup_rule"]):
        return nodes, []
    more, rules = _kernel().devices(options["device"])
    return [*nodes, *more], [*rules, *_kernel().device_rules(options["device_cgroup_rule"])]


def _sysctls(options: Parsed, spaces: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return ``linux.sysctl``."""
    if not options["sysctl"]:
        return {}
    return {"sysctl": _kernel().sysctls(options["sysctl"], [space["type"] for space in spaces])}


def _hidden(options: Parsed, usual: Sequence[str], *words: str) -> list[str]:
    """Return which paths are hidden, or read-only, by the words of --security-opt that have a say."""
    if options["privileged"]:
        return []
    if not options["security_opt"]:
        return list(usual)
    asked = (validate.security(text) for text in options["security_opt"])
    words = words or ("mask", "unmask")
    return list(_kernel().hidden(usual, [(word, str(text)) for word, text in asked if word in words]))


def build(
    options: Parsed, id_: str, *, spaces: Sequence[Mapping[str, str]], filtered: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return ``linux``; ``spaces`` are its namespaces, ``filtered`` its ``seccomp``, None to leave it out."""
    nodes, rules = _devices(options)
    limits = resources.build(options)
    return {
        "namespaces": list(spaces),
        "rootfsPropagation": "rprivate",
        **({"cgroupsPath": f"/pyproc/{id_}"} if manager(options) == "cgroupfs" else {}),
        **_sysctls(options, spaces),
        "resources": {**limits, "devices": [*limits["devices"], *rules]},
        "devices": nodes,
        "maskedPaths": _hidden(options, MASKED),
        "readonlyPaths": _hidden(options, READ_ONLY, "unmask"),
        **({"seccomp": filtered} if filtered is not None else {}),
    }

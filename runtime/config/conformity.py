"""What a configuration may not ask for though it has the right shape: one check a rule, almost pure.

Each raises an Error naming the field (config.md and config-linux.md say why).
"""

from __future__ import annotations

from runtime.config.bundle import HOOKS
from runtime.errors import RunError
from runtime.process import labels as security
from runtime.process import namespaces, scheduling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

PROPAGATIONS = ("private", "slave", "shared", "unbindable")
IPC_SYSCTLS = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
               "kernel.shmmni", "kernel.shm_rmid_forced")  # fmt: skip
"""Settings an IPC namespace has of its own, beside fs.mqueue's (ipc_namespaces(7))."""


def _no(field: str, what: str, hint: str = "see config.md of the OCI runtime specification") -> RunError:
    return RunError(f"config.json: {field}: {what}", hint)


def process(config: dict[str, Any]) -> None:
    """There is a command, and its place is absolute."""
    of_process(config["process"])
    scheduling.check_container(config["linux"])


def of_process(found: dict[str, Any]) -> None:
    """Check an OCI process, of a bundle or of ``exec``."""
    if not found.get("args"):
        raise _no("process.args", "empty, so there is nothing to run")
    if not found["cwd"].startswith("/"):
        raise _no("process.cwd", f"{found['cwd']!r} is not an absolute path")
    for index, limit in enumerate(found["rlimits"]):
        if limit["type"] not in scheduling.RLIMITS:
            raise _no(f"process.rlimits[{index}].type", f"{limit['type']!r} is unknown")
        if [each["type"] for each in found["rlimits"]].count(limit["type"]) > 1:
            raise _no(f"process.rlimits[{index}].type", f"{limit['type']!r} is there twice")
    scheduling.check(found)
    security.check(found)


def spaces(config: dict[str, Any]) -> None:
    """Namespaces are known and named once; what belongs to one is not asked for without it."""
    linux = config["linux"]
    kinds = [each["type"] for each in linux["namespaces"]]
    for index, kind in enumerate(kinds):
        if kind not in namespaces.FLAGS:
            raise _no(f"linux.namespaces[{index}].type", f"{kind!r} is unknown")
        if kinds.count(kind) > 1:
            raise _no(f"linux.namespaces[{index}].type", f"{kind!r} is there twice")
        path = linux["namespaces"][index].get("path", "")
        if path and not path.startswith("/"):
            raise _no(f"linux.namespaces[{index}].path", f"{path!r} is not an absolute path")
    if "mount" not in kinds:
        raise _no("linux.namespaces", "there is no mount namespace", "add one: the root needs it")
    new = {each["type"] for each in linux["namespaces"] if not each.get("path")}
    if "user" in new and not (linux["uidMappings"] and linux["gidMappings"]):
        raise _no("linux.uidMappings", "a new user namespace needs uidMappings and gidMappings")
    if linux["timeOffsets"] and "time" not in new:
        raise _no("linux.timeOffsets", "there is no new time namespace")
    for clock in linux["timeOffsets"]:
        if clock not in ("monotonic", "boottime"):
            raise _no(f"linux.timeOffsets.{clock}", "the clocks are monotonic and boottime")
    for field in ("hostname", "domainname"):
        if config[field] and "uts" not in kinds:
            raise _no(field, "there is no UTS namespace to set it in")


def mounts(config: dict[str, Any]) -> None:
    """A mount has a place and, if it is a bind, a source."""
    for index, mount in enumerate(config["mounts"]):
        if mount["type"] == "bind" and not mount["source"]:
            raise _no(f"mounts[{index}].source", "a bind mount needs one")
        mapped = bool(mount.get("uidMappings")), bool(mount.get("gidMappings"))
        if mapped[0] != mapped[1] or ({"idmap", "ridmap"} & set(mount["options"]) and not all(mapped)):
            raise _no(f"mounts[{index}].uidMappings", "ids are mapped by uidMappings and gidMappings together")
        if any(mapped) and mount["type"] != "bind":
            raise _no(f"mounts[{index}].uidMappings", "only a bind mount can have ids of its own")
    propagation = config["linux"]["rootfsPropagation"]
    if propagation.removeprefix("r") not in PROPAGATIONS and propagation:
        raise _no("linux.rootfsPropagation", f"{propagation!r} is unknown", f"one of {', '.join(PROPAGATIONS)}")


def devices(config: dict[str, Any]) -> None:
    """A device has a place and a type."""
    for index, device in enumerate(config["linux"]["devices"]):
        if device["type"] not in ("c", "u", "b", "p"):
            raise _no(f"linux.devices[{index}].type", f"{device['type']!r} is unknown", "one of c, u, b, p")
        if device["type"] != "p" and not {"major", "minor"} <= device.keys():
            raise _no(f"linux.devices[{index}].major", "a device needs major and minor")


def of_host(name: str, kinds: Collection[str]) -> str:
    """Say why a kernel setting is the host's, "" if a namespace of these kinds has it of its own."""
    dotted = name.replace("/", ".")
    if dotted.startswith("net."):
        needs = "network"
    elif dotted in IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
        needs = "ipc"
    elif dotted == "kernel.domainname":
        needs = "uts"
    else:
        return "no namespace has it of its own"
    return "" if needs in kinds and ".." not in name else f"there is no {needs} namespace"


def sysctls(config: dict[str, Any]) -> None:
    """A kernel setting belongs to a namespace the container has of its own: others are the host's."""
    kinds = {each["type"] for each in config["linux"]["namespaces"]}
    for name in config["linux"]["sysctl"]:
        if problem := of_host(name, kinds):
            raise _no(f"linux.sysctl.{name}", f"it would change the host: {problem}", "leave it out")


def hooks(config: dict[str, Any]) -> None:
    """A hook is a path, and a timeout is a time."""
    for stage in HOOKS:  # others are ignored
        for index, hook in enumerate(config["hooks"].get(stage, ())):
            if not hook["path"].startswith("/"):
                raise _no(f"hooks.{stage}[{index}].path", f"{hook['path']!r} is not an absolute path")
            if hook.get("timeout", 1) <= 0:
                raise _no(f"hooks.{stage}[{index}].timeout", "it must be more than 0 seconds")


def shares(config: dict[str, Any]) -> None:
    """Shares of caches and memory bandwidth need a processor and a kernel that have them."""
    if (asked := config["linux"].get("intelRdt")) is not None:
        from runtime.process import resctrl

        resctrl.check(asked)


def net_devices(config: dict[str, Any]) -> None:
    """A device goes to a network namespace, under a name a device can have."""
    linux = config["linux"]
    if linux["netDevices"] and "network" not in {each["type"] for each in linux["namespaces"]}:
        raise _no("linux.netDevices", "there is no network namespace to move them to")
    for name, wish in linux["netDevices"].items():
        from runtime.process import net_devices as net_device_moves

        for each in (name, wish.get("name") or name):
            if not net_device_moves.is_name(each):
                raise _no(f"linux.netDevices.{name}", f"{each!r} can't be a device's name")


def labels(config: dict[str, Any]) -> None:
    """The kernel knows the label of files; its process's is checked with that."""
    security.check_files(config["linux"])


CHECKS = (process, spaces, mounts, devices, sysctls, hooks, net_devices, labels, shares)


def check(config: dict[str, Any]) -> None:
    """Apply every check."""
    for each in CHECKS:
        each(config)

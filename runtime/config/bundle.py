"""Reads a bundle's config.json, and refuses what is not one: each Error names the field and says what is wrong.

Any 1.x of the runtime specification is taken; what it does not know is ignored, as the specification wants it.
"""

from __future__ import annotations

import os

from lxcfs_py import json_text
from lxcfs_py.errors import reason
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "config.json"
MAX_BYTES = 16 << 20
HOOK = [{"path!": str, "args": [str], "env": [str], "timeout": int}]
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")
IDS = [{"containerID!": int, "hostID!": int, "size!": int}]
PROCESS: dict[str, Any] = {
    "terminal": bool, "consoleSize": {"height!": int, "width!": int}, "cwd!": str, "env": [str], "args": [str],
    "rlimits": [{"type!": str, "soft!": int, "hard!": int}], "noNewPrivileges": bool, "oomScoreAdj": int,
    "user": {"uid": int, "gid": int, "umask": int, "additionalGids": [int], "username": str},
    "capabilities": {name: [str] for name in CAPABILITIES}, "apparmorProfile": str, "selinuxLabel": str,
    "scheduler": {
        "policy!": str, "nice": int, "priority": int, "flags": [str], "runtime": int, "deadline": int, "period": int,
    },
    "ioPriority": {"class!": str, "priority": int}, "execCPUAffinity": {"initial": str, "final": str},
}  # fmt: skip
"""``!``: the field must be there."""
RATES = [{"major!": int, "minor!": int, "rate!": int}]
RESOURCES: dict[str, Any] = {
    "memory": {
        "limit": int, "reservation": int, "swap": int, "kernel": int, "kernelTCP": int, "swappiness": int,
        "disableOOMKiller": bool, "useHierarchy": bool, "checkBeforeUpdate": bool,
    },
    "cpu": {
        "shares": int, "quota": int, "burst": int, "period": int, "realtimeRuntime": int, "realtimePeriod": int,
        "cpus": str, "mems": str, "idle": int,
    },
    "pids": {"limit": int},
    "blockIO": {
        "weight": int, "leafWeight": int,
        "weightDevice": [{"major!": int, "minor!": int, "weight": int, "leafWeight": int}],
        "throttleReadBpsDevice": RATES, "throttleWriteBpsDevice": RATES,
        "throttleReadIOPSDevice": RATES, "throttleWriteIOPSDevice": RATES,
    },
    "hugepageLimits": [{"pageSize!": str, "limit!": int}],
    "network": {"classID": int, "priorities": [{"name!": str, "priority!": int}]},
    "rdma": {"*": {"hcaHandles": int, "hcaObjects": int}},
    "devices": [{"allow!": bool, "type": str, "major": int, "minor": int, "access": str}],
    "unified": {"*": str},
}  # fmt: skip
LINUX: dict[str, Any] = {
    "namespaces": [{"type!": str, "path": str}], "uidMappings": IDS, "gidMappings": IDS,
    "timeOffsets": {"*": {"secs": int, "nanosecs": int}}, "cgroupsPath": str, "resources": RESOURCES,
    "devices": [
        {"type!": str, "path!": str, "major": int, "minor": int, "fileMode": int, "uid": int, "gid": int},
    ],
    "rootfsPropagation": str, "maskedPaths": [str], "readonlyPaths": [str], "mountLabel": str, "sysctl": {"*": str},
    "seccomp": {}, "personality": {"domain!": str, "flags": [str]}, "netDevices": {"*": {"name": str}},
    "memoryPolicy": {"mode!": str, "nodes": str, "flags": [str]},
    "intelRdt": {
        "closID": str, "l3CacheSchema": str, "memBwSchema": str, "schemata": [str], "enableMonitoring": bool,
        "enableCMT": bool, "enableMBM": bool,
    },
}  # fmt: skip
SHAPE: dict[str, Any] = {
    "ociVersion!": str, "root": {"path!": str, "readonly": bool}, "hostname": str, "domainname": str,
    "mounts": [
        {
            "destination!": str, "type": str, "source": str, "options": [str],
            "uidMappings": IDS, "gidMappings": IDS,
        }
    ],
    "process": PROCESS, "hooks": dict.fromkeys(HOOKS, HOOK), "linux": LINUX, "annotations": {"*": str},
}  # fmt: skip
WORDS = {str: "a string", int: "a number", bool: "true or false"}


def shape(value: Any, wanted: Any, field: str) -> None:
    """Compare a JSON value with a shape; raises an Error naming the first field that is wrong."""
    if isinstance(wanted, list):
        if not isinstance(value, list):
            raise _wrong(field, "not a list")
        for number, item in enumerate(value):
            shape(item, wanted[0], f"{field}[{number}]")
    elif isinstance(wanted, dict):
        if not isinstance(value, dict):
            raise _wrong(field or "the configuration", "not an object")
        _fields(value, wanted, f"{field}." if field else "")
    elif not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
        raise _wrong(field, f"not {WORDS[wanted]}")
    elif wanted is str and "\0" in value:
        raise _wrong(field, "it has a zero byte")


def _fields(value: dict[str, Any], wanted: dict[str, Any], prefix: str) -> None:
    if "*" in wanted:
        for name, item in value.items():
            shape(item, wanted["*"], prefix + name)
        return
    for name, its in wanted.items():
        plain = name.rstrip("!")
        item = value.get(plain)
        if item is not None:  # null is what Go writes for what is not set
            shape(item, its, prefix + plain)
        elif name != plain:
            raise _wrong(prefix + plain, "missing")


def _wrong(field: str, what: str) -> RunError:
    return RunError(f"config.json: {field}: {what}", "see the OCI runtime specification, config.md")


def without_nulls(value: Any) -> Any:
    """Return a JSON value without members that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def process(found: dict[str, Any]) -> dict[str, Any]:
    """Return an OCI process with what may be left out filled in."""
    user = {"uid": 0, "gid": 0, "additionalGids": [], **found.get("user", {})}
    capabilities = {**dict.fromkeys(CAPABILITIES, ()), **found.get("capabilities", {})}
    defaults = {"terminal": False, "env": [], "rlimits": [], "noNewPrivileges": False}
    return {**defaults, **found, "user": user, "capabilities": capabilities}


def complete(found: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with what may be left out filled in, so that it can be read without asking."""
    linux = {
        "namespaces": [], "devices": [], "maskedPaths": [], "readonlyPaths": [], "sysctl": {}, "uidMappings": [],
        "gidMappings": [], "timeOffsets": {}, "netDevices": {}, "rootfsPropagation": "rslave",
        **found.get("linux", {}),
    }  # fmt: skip
    linux["resources"] = {"devices": [], **linux.get("resources", {})}
    mounts = [{"type": "", "source": "", "options": [], **mount} for mount in found.get("mounts", ())]
    for mount in mounts:
        if not mount["type"]:
            binds = {"bind", "rbind"} & set(mount["options"])
            mount["type"] = "bind" if binds or not mount["source"] else mount["source"]
        if mount["type"] == "bind" and not {"bind", "rbind"} & set(mount["options"]):
            mount["options"] = ["bind", *mount["options"]]
    defaults = {"hostname": "", "domainname": "", "hooks": {}, "annotations": {}}
    return {
        **defaults,
        **found,
        "root": {"readonly": False, **found["root"]},
        "process": process(found["process"]),
        "mounts": mounts,
        "linux": linux,
    }


def read_json(path: str) -> Any:
    """Return a file's JSON; raises an Error naming it."""
    try:
        with open(path, "rb") as file:
            return json_text.loads(file.read(MAX_BYTES))
    except OSError as error:
        raise RunError(reason(error), "name a file that can be read") from error
    except ValueError:
        raise RunError(f"{path}: not JSON", "see the OCI runtime specification, config.md") from None


def load(directory: str) -> dict[str, Any]:
    """Return a bundle's configuration, whole and complete; raises an Error naming the first field that is wrong."""
    path = f"{directory}/{NAME}"
    if not os.path.isfile(path):
        raise RunError(f"{path}: no such file or directory", "--bundle DIR names the directory that has it")
    return checked(read_json(path))


def checked(found: Any) -> dict[str, Any]:
    """Return a configuration complete; raises an Error naming the first field that is wrong."""
    from runtime.config import conformity

    shape(found, SHAPE, "")
    found = without_nulls(found)
    if not found["ociVersion"].startswith("1."):
        raise _wrong("ociVersion", f"{found['ociVersion']!r} is not 1.x, which is what is understood")
    for field in ("root", "process"):
        if field not in found:
            raise _wrong(field, "missing")
    whole = complete(found)
    conformity.check(whole)
    limit_none(whole["linux"]["resources"], whole["ociVersion"])
    return whole


def limit_none(resources: dict[str, Any], version: str) -> None:
    """Have a ``pids.limit`` of 0 mean what it means to the specification of a version.

    From 1.3 on it is a number like any other, and as the first process counts, as good as 1: the kernel would have
    none cloned into a cgroup of 0. Before, engines wrote it for "not set", which it is everywhere else.
    """
    minor = version.split(".")[1]
    if minor.isdigit() and int(minor) >= 3 and resources.get("pids", {}).get("limit") == 0:
        resources["pids"] = {"limit": 1}

"""A container in Docker's words: the keys of ``docker inspect`` that have a meaning here."""

from __future__ import annotations

import os

from runtime import state, volumes
from runtime.config import logs
from runtime.config.spec import STOP_SIGNAL, STOP_TIMEOUT
from runtime.lifecycle import ending, listing, oci
from runtime.request import NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.state import State

ZERO = "0001-01-01T00:00:00Z"
"""Docker's time for never."""


def _state(what: dict[str, Any]) -> dict[str, Any]:
    status = what["status"]
    word = "exited" if status == state.STOPPED else status
    return {
        "Status": word,
        "Running": status in (state.RUNNING, oci.PAUSED),
        "Paused": status == oci.PAUSED,
        "Pid": what["pid"],
        "ExitCode": what.get("exitCode"),
        "StartedAt": what["started"] or ZERO,
        "FinishedAt": what["finished"] or ZERO,
    }


def _limits(resources: dict[str, Any]) -> dict[str, Any]:
    memory, cpu = resources.get("memory", {}), resources.get("cpu", {})
    period, quota = cpu.get("period", 100_000), cpu.get("quota", 0)
    return {
        "Memory": memory.get("limit", 0),
        "MemorySwap": memory.get("swap", 0),
        "MemoryReservation": memory.get("reservation", 0),
        "NanoCpus": quota * 1_000_000_000 // period if quota > 0 else 0,
        "CpuShares": cpu.get("shares", 0),
        "CpusetCpus": cpu.get("cpus", ""),
        "CpusetMems": cpu.get("mems", ""),
        "PidsLimit": resources.get("pids", {}).get("limit", 0),
    }


def _mount(mount: dict[str, Any], storage: str) -> dict[str, Any]:
    writable = not {"ro", "rro"} & {*mount.get("options", ())}
    source = mount.get("source", "")
    name = volumes.name_of(storage, source) if storage else ""
    return {
        "Type": "volume" if name else mount["type"],
        **({"Name": name, "Driver": "local"} if name else {}),
        "Source": source,
        "Destination": mount["destination"],
        "RW": writable,
    }


def _networks(root: str, found: State) -> dict[str, Any]:
    from runtime.lifecycle import again
    from runtime.network import told

    book = told.book([found])
    asked = again.read(found.storage) if found.storage and NETWORK in found.annotations else None
    remembered = asked.network.ends if asked is not None and asked.network is not None else ()
    return told.settings(book, book.all_of(root, found.key), remembered)


def _logging(found: State) -> dict[str, str]:
    rotation = logs.rotation(found.annotations)
    return {"max-size": str(rotation.bytes), "max-file": str(rotation.files)} if rotation.bytes else {}


def describe(root: str, found: State, config: dict[str, Any]) -> dict[str, Any]:
    """Return it; ``ExitCode`` is null while it is not known."""
    what = listing.describe(root, found)
    process, linux = config["process"], config.get("linux", {})
    number, grace = ending.manner(found, None, None)
    user = process.get("user", {})
    mounts = [mount for mount in config.get("mounts", ()) if mount.get("type") == "bind"]
    args = process.get("args", [])
    storage = os.path.dirname(os.path.dirname(found.storage))
    return {
        "Id": found.id,
        "Name": f"/{found.id}",
        "Created": what["created"],
        "Path": args[0] if args else "",
        "Args": args[1:],
        "State": _state(what),
        "Image": what["image"],
        "LogPath": f"{found.storage}/log" if found.storage and found.detached else "",
        "Bundle": found.bundle,
        "Storage": found.storage,
        "CgroupPath": found.cgroup,
        "Mounts": [_mount(mount, storage) for mount in mounts],
        "NetworkSettings": _networks(root, found),
        "Config": {
            "Hostname": config.get("hostname", ""),
            "User": user.get("username") or f"{user.get('uid', 0)}:{user.get('gid', 0)}",
            "Tty": process.get("terminal", False),
            "Env": process.get("env", []),
            "Cmd": args,
            "WorkingDir": process.get("cwd", "/"),
            "Labels": dict(found.annotations),
            "StopSignal": found.annotations.get(STOP_SIGNAL, str(number)),
            "StopTimeout": found.annotations.get(STOP_TIMEOUT, grace),
        },
        "HostConfig": {
            "LogConfig": {"Type": "file", "Config": _logging(found)},
            "NetworkMode": listing.mode(found.annotations, config),
            "AutoRemove": found.remove,
            "ReadonlyRootfs": config.get("root", {}).get("readonly", False),
            "Capabilities": process.get("capabilities", {}).get("bounding", []),
            "NoNewPrivileges": process.get("noNewPrivileges", False),
            **_limits(linux.get("resources", {})),
        },
    }

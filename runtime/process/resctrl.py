"""A container's share of caches and memory bandwidth: its group in resctrl (config-linux.md, "IntelRdt").

A group that the configuration names by ``closID`` may be others' too, and stays; one named after the container goes
with it.
"""

from __future__ import annotations

import os

from lxcfs_py.errors import reason
from runtime.errors import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FIELD = "config.json: linux.intelRdt"


def _root(sys: str) -> str:
    return f"{sys}/fs/resctrl"


def check(asked: Mapping[str, Any], sys: str = "/sys") -> None:
    """See that the machine can share; raises an Error naming what is missing."""
    root = _root(sys)
    if not os.path.isfile(f"{root}/schemata"):
        hint = f"mount -t resctrl resctrl {root}, on a processor that can share its caches"
        raise RunError(f"{FIELD}: there is no resctrl at {root}", hint)
    if (name := asked.get("closID", "")) in (".", "..") or "/" in name:
        raise RunError(f"{FIELD}.closID: {name!r} can't be a group's name", "write a plain word")
    if asked.get("enableMonitoring") and not os.path.isdir(f"{root}/mon_groups"):
        raise RunError(f"{FIELD}.enableMonitoring: this processor does not count", "leave it out")


def schemata(asked: Mapping[str, Any]) -> list[str]:
    """Return the lines that the group's schemata is to have."""
    texts = (*asked.get("schemata", ()), asked.get("l3CacheSchema", ""), asked.get("memBwSchema", ""))
    return [line.strip() for text in texts for line in text.split("\n") if line.strip()]


def _groups(asked: Mapping[str, Any], id_: str, sys: str) -> list[str]:
    """Return the group's directory, and that in which the container is counted by itself."""
    group = f"{_root(sys)}/{asked.get('closID') or id_}"
    return [group, *([f"{group}/mon_groups/{id_}"] if asked.get("enableMonitoring") else [])]


def doors(asked: Mapping[str, Any], id_: str, sys: str = "/sys") -> tuple[str, ...]:
    """Return the files by which a process moves itself in (``lxcfs_py.cgroup.control.enter``)."""
    return tuple(f"{group}/tasks" for group in _groups(asked, id_, sys))


def make(asked: Mapping[str, Any], id_: str, sys: str = "/sys") -> None:
    """Make the group with its shares; raises an Error if one that is there has others."""
    group, *counted = _groups(asked, id_, sys)
    wanted, file = schemata(asked), f"{group}/schemata"
    try:
        if os.path.isdir(group) and asked.get("closID"):
            with open(file, encoding="ascii") as reader:
                there = {line.strip() for line in reader}
            if other := [line for line in wanted if line not in there]:
                raise RunError(f"{FIELD}: {group} is there and has not {other[0]!r}", "name another closID")
        else:
            os.makedirs(group, exist_ok=True)
            for line in wanted:
                with open(file, "w", encoding="ascii") as writer:
                    writer.write(f"{line}\n")
        for each in counted:
            os.makedirs(each, exist_ok=True)
    except OSError as error:
        hint = f"{_root(sys)}/info/last_cmd_status says more"
        raise RunError(f"{FIELD}: {reason(error)}", hint) from error


def remove(asked: Mapping[str, Any], id_: str, sys: str = "/sys") -> None:
    """Remove what is the container's alone; what is not there is fine."""
    group, *counted = _groups(asked, id_, sys)
    for directory in (*counted, *(() if asked.get("closID") else (group,))):
        try:
            os.rmdir(directory)
        except OSError:
            continue

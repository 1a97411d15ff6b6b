"""What of a configuration is different for an ordinary user (user_namespaces(7)): pure."""

from __future__ import annotations

from runtime.errors import RunError
from runtime.process import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.process.ids import Own


def adapt(config: dict[str, Any], own: Own) -> dict[str, Any]:
    """Return the configuration with a user namespace of the user's ids, and mounts that are possible there."""
    linux = config["linux"]
    kinds = {each["type"] for each in linux["namespaces"]}
    if there := [each["type"] for each in linux["namespaces"] if each.get("path")]:
        why = "is its user namespace's, and an ordinary user's container has one of its own"
        raise RunError(
            f"container:NAME: the {there[0]} namespace of another {why}", "give each its own, or the host's"
        )
    mounts = [  # queues of the host's can be used without their file system, which is its root's to mount
        _mount(mount, own, kinds) for mount in config["mounts"] if mount["type"] != "mqueue" or "ipc" in kinds
    ]
    return {
        **config,
        "mounts": mounts,
        "linux": {**linux, "namespaces": [{"type": "user"}, *linux["namespaces"]], **own.oci},
    }


OF = {"sysfs": "network", "proc": "pid"}
"""The namespaces that file systems belong to: who is not root there can't mount them."""


def _mount(mount: dict[str, Any], own: Own, kinds: set[str]) -> dict[str, Any]:
    options = list(mount["options"])
    if mount["type"] in OF and OF[mount["type"]] not in kinds:
        changed = ["rbind", "rprivate", *(f"r{option}" for option in options)]
        return {**mount, "type": "bind", "source": mount["destination"], "options": changed}
    if mount["type"] == "devpts":
        options = [
            option for option in options if not option.startswith("gid=") or ids.has(own.gids, int(option[4:]))
        ]
    return {**mount, "options": options}
